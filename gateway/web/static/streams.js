// Server-sent events without repeats: a stream resumes where it was cut off.

const MAX_PAUSE = 30_000; // milliseconds between two attempts

/**
 * Follow a stream. `on` has a handler for each event, by its name; also `fresh` (opened for the first time), `lost` (cut
 * off; it will be back) and `back` (opened again). Browsers give up on a status such as 503: then the stream is opened
 * again, after the last event that came.
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
    for (const [name, handler] of Object.entries(on)) {
      source.addEventListener(name, (event) => {
        if (!(event instanceof MessageEvent)) return; // `error` is also what the browser calls a lost connection
        last = event.lastEventId;
        handler(event.data);
      });
    }
    source.addEventListener("error", (event) => {
      if (event instanceof MessageEvent) return;
      on.lost?.();
      if (source.readyState !== EventSource.CLOSED) return;
      timer = setTimeout(open, pause);
      pause = Math.min(pause * 2, MAX_PAUSE);
    });
  }

  function close() {
    clearTimeout(timer);
    source.close();
  }

  open();
  return { close };
}

/** Follow a stream while the page is visible: a browser has few connections to one host, and hidden pages need none. */
export function followWhileVisible(path, on) {
  let stream = null;
  function update() {
    if (!document.hidden && !stream) stream = follow(path, on);
    if (document.hidden && stream) {
      stream.close();
      stream = null;
    }
  }
  document.addEventListener("visibilitychange", update);
  update();
}
