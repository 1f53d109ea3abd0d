// Starts the scripts of a page; each finds its own elements.

import { watchFleet } from "./fleet.js";
import { watchPredictions } from "./list.js";
import { prepareRuns } from "./run.js";

const out = document.getElementById("sign-out");
out.disabled = false;
out.addEventListener("click", async () => {
  await fetch("-/session", { method: "DELETE" });
  location.assign(".");
});

watchFleet();
const list = watchPredictions();
if (document.getElementById("form")) prepareRuns(list);
