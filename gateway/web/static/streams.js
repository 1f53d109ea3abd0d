// Server-sent events that are never asked for twice: a stream comes back where it was cut off.

const LONGEST = 30_000; // milliseconds between two tries

/**
 * Follow a stream. `on` has a function for each event, by its name; besides `fresh` (opened, with nothing said yet) and
 * `lost` (cut off; it will be back). Browsers give up on an answer such as 503: then it is opened anew, after the last
 * event that came.
 */
export function follow(path, on) {
  let source = null;
  let timer = 0;
  let pause = 500;
  let last = "";

  function open() {
    const url = new URL(path, document.baseURI);
    if (last) url.searchParams.set("last_event_id", last);
    let fresh = true;
    source = new EventSource(url);
    source.addEventListener("open", () => {
      pause = 500;
      if (fresh) on.fresh?.();
      else on.back?.();
      fresh = false;
    });
    for (const [name, heard] of Object.entries(on)) {
      source.addEventListener(name, (event) => {
        if (!(event instanceof MessageEvent)) return; // `error` is also what the browser calls a lost connection
        last = event.lastEventId;
        heard(event.data);
      });
    }
    source.addEventListener("error", (event) => {
      if (event instanceof MessageEvent) return;
      on.lost?.();
      if (source.readyState !== EventSource.CLOSED) return;
      timer = setTimeout(open, pause);
      pause = Math.min(pause * 2, LONGEST);
    });
  }

  function close() {
    clearTimeout(timer);
    source.close();
  }

  open();
  return { close };
}

/** The same, while the page is to be seen: a browser has few connections to one host, and hidden pages need none. */
export function followWhileVisible(path, on) {
  let stream = null;
  function look() {
    if (!document.hidden && !stream) stream = follow(path, on);
    if (document.hidden && stream) {
      stream.close();
      stream = null;
    }
  }
  document.addEventListener("visibilitychange", look);
  look();
}
