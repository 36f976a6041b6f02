// The client as the article's team, and many after it, wrote it. Returns what it shows after each list of chunks.
// Faithful with its faults: each chunk is decoded by itself; 4-byte characters are cut to 16 bits; a character that is cut
// throws or turns into rubbish; what cannot be parsed is dropped; only the newest text is kept.
(runs) => {
  function arrayBufferToString(bytes) {
    let text = "";
    for (let i = 0; i < bytes.length; i++) {
      const one = bytes[i].toString(2);
      const lead = one.match(/^1+?(?=0)/);
      if (lead && one.length === 8) {
        const length = lead[0].length;
        let store = bytes[i].toString(2).slice(7 - length);
        for (let at = 1; at < length; at++) store += bytes[at + i].toString(2).slice(2);
        text += String.fromCharCode(parseInt(store, 2));
        i += length - 1;
      } else text += String.fromCharCode(bytes[i]);
    }
    return text;
  }

  function shownAfter(chunks, keepsRest) {
    let rest = "";
    let shown = "";
    for (const chunk of chunks) {
      try {
        const blocks = (rest + arrayBufferToString(chunk)).split("\n\n");
        rest = keepsRest ? blocks.pop() : "";
        for (const block of blocks) {
          try {
            const told = JSON.parse(block.replace(/^data: /, ""));
            if (told.text !== undefined) shown = told.text;
          } catch {}
        }
      } catch {}
    }
    return shown;
  }

  return runs.map(({ bytes, keepsRest }) => {
    const all = Uint8Array.from(atob(bytes), (one) => one.charCodeAt(0));
    const shown = {};
    for (let cut = 0; cut <= all.length; cut++) {
      const text = shownAfter([all.slice(0, cut), all.slice(cut)], keepsRest);
      shown[text] = (shown[text] || 0) + 1;
    }
    return shown;
  });
}
