// Turns outputs into elements. An output is whatever a model wrote: text stays text, and only our own files are shown.

const KINDS = [
  ["img", /\.(png|jpe?g|gif|webp|avif|bmp|svg)$/i, /^data:image\//],
  ["audio", /\.(wav|mp3|ogg|oga|opus|flac|m4a|aac)$/i, /^data:audio\//],
  ["video", /\.(mp4|webm|mov|m4v|ogv)$/i, /^data:video\//],
];
const MAX_DEPTH = 8;

/** Return the elements of a whole output. With `joined`, pieces of text follow one another without a break. */
export function whole(value, joined) {
  if (typeof value === "string") return isFile(value) ? [file(value)] : [text(value)];
  if (Array.isArray(value) && value.length && value.every((each) => typeof each === "string")) {
    if (value.every(isFile)) return value.map(file);
    if (!value.some(isFile)) return [text(value.join(joined ? "" : "\n"))];
  }
  if (value === null || value === undefined) return [];
  return [...files(value, 0).map(file), json(value)];
}

export function text(value) {
  const element = document.createElement("pre");
  element.className = "text";
  element.textContent = value;
  return element;
}

/** Return a URL of this server, which may name its public address, as one below the page's own. */
export function here(url) {
  const { base } = document.getElementById("main").dataset;
  return url.startsWith(base + "/") ? new URL(url.slice(base.length + 1), document.baseURI).href : url;
}

export function isFile(value) {
  return isOurs(value) || KINDS.some(([, , data]) => data.test(value));
}

export function file(value) {
  const url = here(value);
  const path = url.startsWith("data:") ? "" : new URL(url).pathname;
  const kind = KINDS.find(([, name, data]) => name.test(path) || data.test(url))?.[0];
  const box = document.createElement("figure");
  if (kind) box.append(medium(kind, url));
  box.append(link(url, path));
  return box;
}

function medium(kind, url) {
  const element = document.createElement(kind);
  if (kind === "img") element.alt = "An image that the model made";
  else element.controls = true;
  element.src = url;
  return element;
}

function link(url, path) {
  const element = document.createElement("a");
  element.className = "download";
  element.href = url;
  element.download = decodeURIComponent(path.split("/").pop()) || "output";
  element.textContent = path ? `Download ${element.download}` : "Download";
  return element;
}

function json(value) {
  const element = document.createElement("pre");
  element.className = "json";
  element.tabIndex = 0;
  element.textContent = JSON.stringify(value, null, 2);
  return element;
}

function isOurs(value) {
  return here(value).startsWith(new URL("v1/outputs/", document.baseURI).href);
}

/** Return all files in a value, at any depth. */
function files(value, depth) {
  if (typeof value === "string") return isFile(value) ? [value] : [];
  if (value === null || typeof value !== "object" || depth > MAX_DEPTH) return [];
  return Object.values(value).flatMap((each) => files(each, depth + 1));
}
