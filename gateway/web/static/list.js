// The list of predictions, newest first: read once, then updated by the server's events.

import { seconds, when, words } from "./words.js";
import { followWhileVisible } from "./streams.js";

const RANK = { starting: 0, processing: 1 }; // a final status outranks both, so late events change nothing

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
    const list = await answer.json();
    for (const prediction of list.results) put(prediction);
    next = list.next && new URL(list.next).search;
    older.hidden = !next;
    read = true;
    document.getElementById("nothing").hidden = rows.size > 0;
  }

  async function reload() {
    rows.clear();
    body.replaceChildren();
    await page("v1/predictions");
  }

  function showConnection(isLive) {
    live.dataset.live = isLive ? "yes" : "no";
    live.textContent = isLive ? "Live" : "Reconnecting…";
  }

  older.addEventListener("click", () => page("v1/predictions" + next));
  followWhileVisible("v1/predictions/events", {
    prediction: (text) => put(JSON.parse(text)),
    reset: reload,
    fresh() {
      showConnection(true);
      page("v1/predictions"); // events that arrive meanwhile are put in their places all the same
    },
    back: () => showConnection(true),
    lost() {
      showConnection(false);
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
