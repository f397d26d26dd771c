// What the console's pages do by themselves: live parts are asked for again, charts are drawn.
"use strict";

(() => {
  const EVERY_MS = 5000;
  const FOLLOW_MS = 2000;

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

  // --- charts ---------------------------------------------------------------------------

  const UNITS = {
    rate: (value) => `${short(value)}/s`,
    bytes: (value) => `${size(value)}/s`,
    seconds: (value) => `${short(value * 1000)} ms`,
    duration: (value) => lasting(value),
    count: (value) => short(value),
    share: (value) => `${short(value * 100)} %`,
  };

  function lasting(seconds) {
    for (const [of, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
      if (seconds >= of) return `${short(seconds / of)} ${unit}`;
    }
    return `${short(seconds)} s`;
  }

  function short(value) {
    if (value !== 0 && Math.abs(value) < 10) return value.toLocaleString("en", { maximumFractionDigits: 1 });
    return value.toLocaleString("en", { maximumFractionDigits: 1, notation: "compact" });
  }

  function size(value) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    for (; Math.abs(value) >= 1024 && unit < units.length - 1; unit += 1) value /= 1024;
    return `${value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 })} ${units[unit]}`;
  }

  function draw(canvas) {
    const data = JSON.parse(document.getElementById(canvas.dataset.chart).textContent);
    const look = getComputedStyle(document.documentElement);
    const colour = (name) => look.getPropertyValue(name).trim();
    const count = Math.max(...data.lines.map((line) => line.values.length));
    const now = Date.now();
    const times = Array.from({ length: count }, (_, place) => new Date(now - (count - 1 - place) * data.step * 1000));
    const clock = (time) => time.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
    const format = UNITS[data.unit];
    const known = Chart.getChart(canvas);
    if (known) known.destroy();
    new Chart(canvas, {
      type: "line",
      data: {
        labels: times.map(clock),
        datasets: data.lines.map((line, place) => ({
          label: line.name,
          data: line.values,
          borderColor: colour(`--q-series-${place + 1}`),
          backgroundColor: `color-mix(in oklab, ${colour(`--q-series-${place + 1}`)} 12%, transparent)`,
          borderWidth: 1.75,
          fill: place === 0,
          pointRadius: 0,
          pointHitRadius: 12,
          tension: 0.25,
        })),
      },
      options: {
        animation: false,
        maintainAspectRatio: false,
        interaction: { intersect: false, mode: "index" },
        plugins: {
          legend: { display: false },
          tooltip: { callbacks: { label: (item) => ` ${item.dataset.label}: ${format(item.parsed.y)}` } },
        },
        scales: {
          x: {
            border: { display: false },
            grid: { display: false },
            ticks: { autoSkipPadding: 40, color: colour("--q-subtle"), font: { size: 11 }, maxRotation: 0 },
          },
          y: {
            beginAtZero: true,
            border: { display: false },
            grid: { color: colour("--q-line") },
            ticks: { callback: format, color: colour("--q-subtle"), font: { size: 11 }, maxTicksLimit: 5 },
          },
        },
      },
    });
  }

  function drawAll(root) {
    for (const canvas of root.querySelectorAll("canvas[data-chart]")) draw(canvas);
  }

  // Messages are followed: those that came are asked for, and the oldest of many go.
  function follow() {
    if (!document.hidden && document.querySelector("[data-follow]")) htmx.trigger(document.body, "follow");
  }

  function trim(list) {
    const most = Number(list.dataset.keep || 0);
    while (most && list.children.length > most) list.lastElementChild.remove();
  }

  function press(event) {
    const stop = event.target.closest("[data-stop]");
    if (stop) {
      // Without its trigger a search that would go on by itself waits for a click.
      const link = document.querySelector(stop.dataset.stop);
      const still = link.cloneNode(true);
      still.setAttribute("hx-trigger", "click");
      htmx.trigger(link, "htmx:abort");
      link.replaceWith(still);
      htmx.process(still);
      stop.remove();
    }
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      const text = document.querySelector(copy.dataset.copy).textContent;
      navigator.clipboard.writeText(text).then(() => {
        copy.lastChild.textContent = "Copied";
      });
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    drawAll(document);
    document.body.addEventListener("htmx:beforeSwap", (event) => {
      for (const canvas of event.detail.target.querySelectorAll("canvas[data-chart]")) {
        const known = Chart.getChart(canvas);
        if (known) known.destroy();
      }
    });
    document.body.addEventListener("htmx:afterSwap", (event) => drawAll(event.detail.target));
    new MutationObserver(() => drawAll(document)).observe(document.documentElement, { attributeFilter: ["class"] });
    setInterval(refresh, EVERY_MS);
    setInterval(follow, FOLLOW_MS);
    document.addEventListener("click", press);
    for (const copy of document.querySelectorAll("[data-copy]")) {
      copy.hidden = !navigator.clipboard || !document.querySelector(copy.dataset.copy);
    }
    document.body.addEventListener("htmx:afterSwap", (event) => {
      if (event.target.dataset && event.target.dataset.keep) trim(event.target);
    });
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
