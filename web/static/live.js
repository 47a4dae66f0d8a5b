// Keeps an open page up to date: at each word from the box the page is asked again, and the parts marked
// data-live are taken over. Also: copying, and times in the reader's own zone. Nothing depends on it.
"use strict";
(() => {
  const local = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const when = new Date(time.dateTime);
      if (time.dateTime && !Number.isNaN(when.valueOf())) time.title = when.toLocaleString();
    }
  };
  const busy = (part) => {
    const focus = document.activeElement;
    const typing = focus && part.contains(focus) && /^(INPUT|SELECT|TEXTAREA)$/.test(focus.tagName);
    const selection = document.getSelection();
    const selecting = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
    return typing || selecting;
  };
  let asking = false;
  const refresh = async () => {
    if (asking || document.hidden) return;
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live][id]")) {
        const other = fresh.getElementById(part.id);
        if (!other || part.innerHTML === other.innerHTML || busy(part)) continue;
        const open = [...part.querySelectorAll("details[open][id]")].map((d) => d.id);
        // Who goes by the keyboard stays at the same control.
        const controls = () => [...part.querySelectorAll("a[href], button, input, select, textarea, summary")];
        const nth = controls().indexOf(document.activeElement);
        const same = nth < 0 ? "" : document.activeElement.outerHTML;
        const end = part.scrollTop + part.clientHeight >= part.scrollHeight - 8;
        part.innerHTML = other.innerHTML;
        for (const id of open) document.getElementById(id)?.setAttribute("open", "");
        if (nth >= 0) {
          const now = controls();
          (now.find((control) => control.outerHTML === same) ?? now[nth])?.focus({ preventScroll: true });
        }
        if (part.hasAttribute("data-tail") && end) part.scrollTop = part.scrollHeight;
        local(part);
      }
      document.body.classList.remove("lost");
    } catch {
      document.body.classList.add("lost");
    } finally {
      asking = false;
    }
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    const text = (source.value ?? source.textContent).trim();
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Browsers give the clipboard to encrypted pages only: mark the text, so that Ctrl-C takes it.
      document.getSelection().selectAllChildren(source);
      return;
    }
    const said = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = said; }, 1500);
  });
  for (const tail of document.querySelectorAll("[data-tail]")) tail.scrollTop = tail.scrollHeight;
  // Frames of an animated code, one after the other.
  for (const show of document.querySelectorAll("[data-frames]")) {
    const frames = [...show.children];
    if (frames.length < 2) continue;
    show.classList.add("moving");
    let at = 0;
    setInterval(() => {
      frames[at].classList.remove("now");
      at = (at + 1) % frames.length;
      frames[at].classList.add("now");
    }, 250);
  }
  document.documentElement.classList.add("script");
  // On a phone the pages are in one line that is longer than the screen.
  document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  local(document);
  const events = new EventSource("/live");
  events.onmessage = refresh;
  events.onerror = () => document.body.classList.add("lost");
  document.addEventListener("visibilitychange", refresh);
})();
