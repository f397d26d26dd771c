// What the console's pages do by themselves: live parts are asked for again, charts are drawn.
"use strict";

(() => {
  const EVERY_MS = 5000;

  // Live parts are left alone while somebody uses them, and while nobody looks.
  function isInUse(live) {
    if (document.hidden) return true;
    if (live.querySelector("details[open]")) return true;
    if (live.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")) return true;
    const chosen = document.getSelection();
    return Boolean(chosen && !chosen.isCollapsed && live.contains(chosen.anchorNode));
  }

  function refresh() {
    const live = document.querySelector("[data-live]");
    if (live && !isInUse(live)) htmx.trigger(document.body, "live");
  }

  function say(text) {
    let note = document.querySelector(".q-stale");
    if (!text) {
      if (note) note.remove();
      return;
    }
    if (!note) {
      note = document.createElement("div");
      note.className = "q-stale";
      note.setAttribute("role", "status");
      document.body.append(note);
    }
    note.textContent = text;
  }

  document.addEventListener("DOMContentLoaded", () => {
    setInterval(refresh, EVERY_MS);
    document.addEventListener("visibilitychange", refresh);
    document.body.addEventListener("htmx:afterRequest", (event) => {
      if (event.detail.successful) say("");
    });
    for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
      document.body.addEventListener(name, () => {
        say(`No answer from the manager; this is what was known at ${new Date().toLocaleTimeString()}.`);
      });
    }
  });
})();
