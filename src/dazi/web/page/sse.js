/**
 * Turns the bytes of an event stream into its events, after the WHATWG standard.
 *
 * Laws: any cutting of the same bytes gives the same events, each in the very feed that completes it; time is linear,
 * because only the new chunk is searched for a line's end; an event that was not closed by a blank line is never told.
 */

// A snapshot of the longest answer (4,194,304 characters), each written as a six-letter escape, fits twice.
const EVENT_LIMIT = 50_331_648;

/** Makes a decoder: `feed(bytes)` returns the events that these bytes complete, as `{ data, id }`. */
export function eventDecoder() {
  const utf8 = new TextDecoder(); // strips the one leading BOM, and keeps a character that was cut for the next chunk
  let pieces = []; // of the line that has not ended yet
  let afterReturn = false; // the last line ended with CR: an LF right after it belongs to it
  let data = [];
  let size = 0; // characters in `pieces` and `data`
  let id; // of the event being read; undefined until its `id:` line came

  function feed(bytes) {
    const events = [];
    const text = utf8.decode(bytes, { stream: true });
    let start = 0;
    if (afterReturn && text) {
      afterReturn = false;
      if (text[0] === "\n") start = 1;
    }
    const ends = /\r\n|\r|\n/g;
    ends.lastIndex = start;
    for (let end = ends.exec(text); end; end = ends.exec(text)) {
      pieces.push(text.slice(start, end.index));
      start = ends.lastIndex;
      afterReturn = end[0] === "\r" && start === text.length;
      endLine(events);
    }
    keep(text.slice(start));
    return events;
  }

  function keep(rest) {
    if (!rest) return;
    pieces.push(rest);
    size += rest.length;
    if (size > EVENT_LIMIT) throw new RangeError(`an event is larger than ${EVENT_LIMIT} characters`);
  }

  function endLine(events) {
    const line = pieces.length === 1 ? pieces[0] : pieces.join("");
    pieces = [];
    if (line) return readLine(line);
    if (data.length) events.push({ data: data.join("\n"), id });
    data = [];
    size = 0;
    id = undefined;
  }

  function readLine(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment: a heartbeat
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") data.push(value);
    // "If the field value does not contain U+0000 NULL, then set the last event ID buffer."
    if (name === "id" && !value.includes("\0")) id = value;
  }

  return { feed };
}
