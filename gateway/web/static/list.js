// The list of predictions, newest first: read once, then kept by what the server says.

import { seconds, when, words } from "./words.js";
import { followWhileVisible } from "./streams.js";

const RANK = { starting: 0, processing: 1 }; // a final status outranks both: what is late changes nothing

export function watchPredictions() {
  const body = document.querySelector("#predictions tbody");
  const row = document.getElementById("row").content.firstElementChild;
  const older = document.getElementById("older");
  const live = document.getElementById("live");
  const rows = new Map(); // by id: { element, prediction }
  let next = null;
  let read = false;

  function put(prediction) {
    const known = rows.get(prediction.id);
    if (known && rank(known.prediction) > rank(prediction)) return;
    const element = known?.element ?? row.cloneNode(true);
    fill(element, prediction);
    rows.set(prediction.id, { element, prediction });
    if (!known) place(element, prediction);
    document.getElementById("nothing").hidden = true;
  }

  function place(element, prediction) {
    element.dataset.created = prediction.created_at;
    element.dataset.id = prediction.id;
    const after = [...body.children].find((each) => each.dataset.created < prediction.created_at);
    body.insertBefore(element, after ?? null);
  }

  async function page(url) {
    const answer = await fetch(url);
    if (!answer.ok) return;
    const found = await answer.json();
    for (const prediction of found.results) put(prediction);
    next = found.next && new URL(found.next).search;
    older.hidden = !next;
    read = true;
    document.getElementById("nothing").hidden = rows.size > 0;
  }

  async function anew() {
    rows.clear();
    body.replaceChildren();
    await page("v1/predictions");
  }

  function say(yes) {
    live.dataset.live = yes ? "yes" : "no";
    live.textContent = yes ? "Live" : "Reconnecting…";
  }

  older.addEventListener("click", () => page("v1/predictions" + next));
  followWhileVisible("v1/predictions/events", {
    prediction: (text) => put(JSON.parse(text)),
    reset: anew,
    fresh() {
      say(true);
      page("v1/predictions"); // what is said meanwhile is put in its place all the same
    },
    back: () => say(true),
    lost() {
      say(false);
      if (!read) page("v1/predictions");
    },
  });
  return {
    put,
    mark(id) {
      for (const [each, { element }] of rows) element.classList.toggle("current", each === id);
    },
  };
}

function rank(prediction) {
  return RANK[prediction.status] ?? 2;
}

function fill(element, prediction) {
  const link = element.querySelector(".id a");
  link.textContent = prediction.id;
  const query = new URLSearchParams({ model: prediction.model, prediction: prediction.id });
  link.href = "?" + query.toString().replace("%2F", "/");
  element.querySelector(".model").textContent = prediction.model;
  element.querySelector(".source").textContent = prediction.source;
  const status = element.querySelector("span.status");
  status.dataset.status = prediction.status;
  status.textContent = words(prediction.status);
  if (prediction.error) status.title = prediction.error;
  element.querySelector(".time").textContent = seconds(prediction.metrics?.predict_time);
  const created = element.querySelector("time");
  created.dateTime = prediction.created_at;
  created.textContent = when(prediction.created_at);
  created.title = new Date(prediction.created_at).toLocaleString();
  element.classList.toggle("current", new URLSearchParams(location.search).get("prediction") === prediction.id);
}
