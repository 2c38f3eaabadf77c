// Keeps the page as new as the worker: the server sends the regions that changed, ready made, and a beat when none did.
"use strict";

(() => {
  const SILENCE_MS = 12000; // longer than two beats
  const AGAIN_MS = 2000;
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  const main = document.getElementById("main");
  const link = document.getElementById("link");
  const linkText = document.getElementById("link-text");
  const lost = document.getElementById("lost");
  const wanted = new Map(); // what each region is to hold, by its id
  let source = null;
  let heardAt = Date.now();
  let triedAt = Date.now();
  let retry = 0;
  let ahead = Date.now() - Date.parse(main.dataset.at); // how far this clock is before the worker's

  function elapsed(seconds) {
    const left = Math.max(0, Math.floor(seconds));
    const found = UNITS.findIndex(([size]) => left >= size);
    const first = found < 0 ? UNITS.length - 1 : found;
    const [size, unit] = UNITS[first];
    const text = `${Math.floor(left / size)} ${unit}`;
    if (first + 1 === UNITS.length) return text;
    const [smaller, name] = UNITS[first + 1];
    return `${text} ${Math.floor((left % size) / smaller)} ${name}`;
  }

  function tick() {
    const now = Date.now() - ahead;
    for (const time of document.querySelectorAll("time[data-since], time[data-ago]")) {
      const passed = elapsed((now - Date.parse(time.dateTime)) / 1000);
      const text = "ago" in time.dataset ? `${passed.split(" ").slice(0, 2).join(" ")} ago` : passed;
      if (time.textContent !== text) time.textContent = text;
    }
  }

  function isRead(region) {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && selection.containsNode(region, true);
  }

  // A region whose text is being selected is changed when the selection is gone.
  function settle() {
    for (const [id, html] of wanted) {
      const region = document.getElementById(id);
      if (!region) { wanted.delete(id); continue; }
      if (isRead(region)) continue;
      wanted.delete(id);
      replace(region, html);
    }
    tick();
  }

  function replace(region, html) {
    const focused = region.contains(document.activeElement) ? document.activeElement.id : "";
    const scrolled = [...region.querySelectorAll("[id]")].map((each) => [each.id, each.scrollTop, each.scrollLeft]);
    region.innerHTML = html;
    for (const [id, top, left] of scrolled) document.getElementById(id)?.scrollTo({ top, left, behavior: "instant" });
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }

  function heard() {
    heardAt = Date.now();
    if (link.dataset.state === "live") return;
    link.dataset.state = "live";
    linkText.textContent = "Live";
    lost.hidden = true;
    document.body.classList.remove("lost");
  }

  function silent() {
    if (link.dataset.state === "lost") return;
    const since = new Date(heardAt - ahead).toISOString().slice(11, 19);
    link.dataset.state = "lost";
    linkText.textContent = "No answer";
    lost.textContent = `The worker does not answer since ${since} UTC. What you see was true then; it is tried again by itself.`;
    lost.hidden = false;
    document.body.classList.add("lost");
  }

  function take(event) {
    const { at, title, regions } = JSON.parse(event.data);
    ahead = Date.now() - Date.parse(at);
    if (title && document.title !== title) document.title = title;
    for (const [id, html] of Object.entries(regions ?? {})) wanted.set(id, html);
    settle();
    heard();
  }

  function connect() {
    clearTimeout(retry);
    source?.close();
    triedAt = Date.now();
    source = new EventSource("/events");
    source.addEventListener("regions", take);
    source.addEventListener("beat", take);
    source.addEventListener("error", () => {
      source.close();
      silent();
      retry = setTimeout(connect, AGAIN_MS);
    });
  }

  setInterval(() => {
    settle();
    // A worker that hangs keeps its connections open, and one that is cut off answers nothing at all.
    if (Date.now() - Math.max(heardAt, triedAt) > SILENCE_MS) {
      silent();
      connect();
    }
  }, 1000);
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  connect();
})();
