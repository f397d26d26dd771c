/* Search in pages that are opened from a folder: browsers start no workers there, so a hidden frame does their work, from
   the moment that somebody is about to search. */
(() => {
  if (location.protocol !== "file:") return;

  const begun = new Promise((resolve) => {
    document.addEventListener("focusin", ({ target }) => {
      if (target.closest(".md-search")) resolve();
    });
  });

  window.Worker = class extends EventTarget {
    #frame = document.createElement("iframe");
    #loaded;

    constructor(url) {
      super();
      this.#frame.hidden = true;
      this.#loaded = begun.then(() => this.#load(new URL(url, document.baseURI).href));
    }

    #load(address) {
      document.documentElement.append(this.#frame);
      const inside = this.#frame.contentWindow;
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const script = inside.document.createElement("script");
      script.src = address;
      inside.document.body.append(script);
      return new Promise((resolve) => script.addEventListener("load", () => resolve(inside)));
    }

    postMessage(data) {
      this.#loaded.then((inside) => inside.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.#frame.remove();
    }
  };
})();
