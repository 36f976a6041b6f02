/**
 * Keeps the newest text in sight.
 *
 * Laws: the page follows the end only while the person is there; who scrolls up to read is left alone, and gets a button
 * that leads back.
 */

const NEAR = 48; // px from the end that still count as being there

/** Follows the end of `content`, which scrolls with the page; `button` leads back to it. */
export function followEnd({ content, button }) {
  const page = document.scrollingElement;
  let isFollowing = true;
  let last = 0; // where the page stood: only a way up is the person's doing

  const left = () => page.scrollHeight - page.clientHeight - page.scrollTop;

  function onScroll() {
    if (left() <= NEAR) isFollowing = true;
    else if (page.scrollTop < last) isFollowing = false;
    last = page.scrollTop;
    button.hidden = isFollowing || left() <= NEAR;
  }

  function toEnd() {
    isFollowing = true;
    page.scrollTop = page.scrollHeight;
  }

  new ResizeObserver(() => (isFollowing ? toEnd() : onScroll())).observe(content);
  document.addEventListener("scroll", onScroll, { passive: true });
  button.addEventListener("click", toEnd);
  return { toEnd };
}
