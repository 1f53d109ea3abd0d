// Runs the page's model, and shows its output as it arrives.

import { input, mark, prepareUploads, refusals } from "./form.js";
import { file, isFile, text, whole } from "./show.js";
import { follow } from "./streams.js";
import { seconds, words } from "./words.js";

const FINAL = new Set(["succeeded", "failed", "canceled", "aborted"]);
const ENDED = "Your session has ended. Reload the page to sign in.";

const at = (id) => document.getElementById(id);

export function prepareRuns(list) {
  const form = at("form");
  const uploaded = prepareUploads(form);
  const view = new View(form, list);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button[type=submit]");
    if (button.disabled) return;
    button.disabled = true;
    try {
      await uploaded();
      const prediction = await create(form);
      if (prediction) view.show(prediction);
    } finally {
      button.disabled = false;
    }
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  at("cancel").addEventListener("click", () => view.cancel());
  for (const each of form.querySelectorAll(":disabled")) each.disabled = false; // until now nothing would have handled them
  if (form.dataset.prediction) view.open(form.dataset.prediction);
}

/** Create a prediction; null if it was refused, which the form then shows. */
async function create(form) {
  const { text, wrong } = input(form);
  if (wrong.size) return showProblems(form, wrong, null);
  const body = `{"version":${JSON.stringify(form.dataset.version)},"input":${text}}`;
  let answer;
  try {
    answer = await fetch("v1/predictions", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  } catch {
    return showProblems(form, new Map(), "The server cannot be reached. Nothing was run; try again.");
  }
  const content = await answer.json();
  if (!answer.ok) {
    const wrong = refusals(content);
    return showProblems(form, wrong, wrong.size ? null : answer.status === 401 ? ENDED : content.detail);
  }
  showProblems(form, new Map(), null);
  return content;
}

function showProblems(form, wrong, general) {
  const lines = mark(form, wrong);
  if (general) lines.unshift(general);
  at("problem").textContent = lines.join("\n");
  at("problem").hidden = !lines.length;
  return null;
}

/** The part of the page that shows one prediction. */
class View {
  constructor(form, list) {
    this.list = list;
    this.shows = form.dataset.shows;
    this.joined = form.dataset.joined === "yes";
    this.stream = null;
    this.prediction = null;
    this.timer = 0;
  }

  async open(id) {
    const answer = await fetch(`v1/predictions/${id}`);
    if (answer.ok) this.show(await answer.json());
  }

  show(prediction) {
    this.stream?.close();
    this.prediction = prediction;
    this.clear();
    this.list.put(prediction);
    this.list.mark(prediction.id);
    const query = new URLSearchParams({ model: prediction.model, prediction: prediction.id });
    history.replaceState(null, "", "?" + query.toString().replace("%2F", "/"));
    if (FINAL.has(prediction.status)) {
      this.logs(prediction.logs);
      this.finish(prediction);
      return;
    }
    this.status(prediction.status, prediction.starting);
    at("cancel").hidden = false;
    at("output").setAttribute("aria-busy", "true");
    this.tick();
    this.stream = follow(`-/predictions/${prediction.id}/events`, {
      status: (data) => this.progress(JSON.parse(data)),
      logs: (data) => this.logs(data),
      output: (data) => this.output(data),
      error: (data) => this.fail(JSON.parse(data).detail),
      restarted: () => this.clear(),
      lost: () => this.note("reconnecting"),
      back: () => this.note(""),
      done: () => this.done(),
    });
  }

  clear() {
    this.text = null;
    at("output").replaceChildren();
    at("failure").hidden = true;
    at("logs").hidden = true;
    at("logs").querySelector("pre").textContent = "";
    at("facts").replaceChildren();
  }

  progress({ status, reason }) {
    this.status(status, reason);
    if (FINAL.has(status)) return; // `done` comes with the rest
    this.prediction = { ...this.prediction, status };
    this.list.put(this.prediction);
  }

  status(status, reason) {
    at("status").dataset.status = status;
    at("status").textContent = words(status) + (reason ? `: ${reason}` : "");
  }

  note(words) {
    if (words) at("elapsed").dataset.note = words;
    else delete at("elapsed").dataset.note;
  }

  logs(piece) {
    if (!piece) return;
    at("logs").hidden = false;
    at("logs").querySelector("pre").append(piece);
  }

  /** Show a piece as the form's schema describes it; what it really was is shown once the prediction has ended. */
  output(piece) {
    const box = at("result");
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    this.append(piece);
    if (atEnd) box.scrollTop = box.scrollHeight; // a reader who has scrolled up stays there
  }

  append(piece) {
    if (this.shows === "files" && isFile(piece)) {
      at("output").append(file(piece));
      return;
    }
    if (!this.text) {
      this.text = text("");
      at("output").append(this.text);
    }
    const breaks = !this.joined && this.text.firstChild ? "\n" : "";
    this.text.append(breaks + piece);
    this.text.normalize();
  }

  fail(detail) {
    at("failure").textContent = detail || "The prediction failed and gave no reason.";
    at("failure").hidden = false;
  }

  async done() {
    this.stream.close();
    const answer = await fetch(`v1/predictions/${this.prediction.id}`);
    const ended = answer.ok ? await answer.json() : this.prediction;
    if (ended.id === this.prediction.id) this.finish(ended);
  }

  finish(prediction) {
    this.prediction = prediction;
    clearInterval(this.timer);
    at("cancel").hidden = true;
    this.status(prediction.status);
    this.list.put(prediction);
    if (prediction.status === "failed") this.fail(prediction.error);
    const elements = whole(prediction.output, this.joined);
    // Text that is there already stays, so that screen readers do not read it twice.
    if (this.text?.textContent !== elements[0]?.textContent || elements.length > 1) at("output").replaceChildren(...elements);
    at("output").setAttribute("aria-busy", "false");
    at("elapsed").textContent = seconds(prediction.metrics?.predict_time);
    this.facts(prediction);
  }

  facts(prediction) {
    const { total_time: total } = prediction.metrics ?? {};
    const link = document.createElement("a");
    link.href = `v1/predictions/${prediction.id}`;
    link.textContent = "As JSON";
    at("facts").replaceChildren(...(total === undefined ? [] : [`${seconds(total)} in all`]), link);
  }

  tick() {
    clearInterval(this.timer);
    const begun = performance.now() - Math.max(0, Date.now() - Date.parse(this.prediction.created_at));
    const show = () => {
      const { note } = at("elapsed").dataset;
      at("elapsed").textContent = note ?? seconds(Math.floor((performance.now() - begun) / 100) / 10);
    };
    this.timer = setInterval(show, 100);
    show();
  }

  async cancel() {
    at("cancel").disabled = true;
    try {
      await fetch(`v1/predictions/${this.prediction.id}/cancel`, { method: "POST" });
    } finally {
      at("cancel").disabled = false;
    }
  }
}
