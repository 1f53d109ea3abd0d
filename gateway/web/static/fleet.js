// Keeps the states of the page's models up to date, from what runners report.

import { followWhileVisible } from "./streams.js";

const WORDS = { ready: "Ready", cold: "Loads on demand", none: "No version yet" };

export function watchFleet() {
  const elements = [...document.querySelectorAll(".state")];
  for (const each of elements) show(each, each.dataset.state);
  followWhileVisible("v1/runners/events", {
    runners(text) {
      const instances = JSON.parse(text).runners.flatMap((runner) => runner.instances);
      for (const each of elements) {
        if (each.dataset.version) show(each, state(instances.filter((one) => one.version === each.dataset.version)));
      }
    },
  });
}

function state(instances) {
  if (instances.some((each) => each.state === "hot")) return "ready";
  return instances.find((each) => each.phase)?.phase ?? "cold";
}

function show(element, state) {
  const words = WORDS[state] ?? state[0].toUpperCase() + state.slice(1);
  element.dataset.state = state in WORDS ? state : "loading";
  if (element.textContent !== words) element.textContent = words;
}
