// The fields of the form as the JSON text of an input, and what is wrong with them.

/** Of the whole form; `wrong` says why a field cannot be read, by its name. */
export function input(form) {
  const members = [];
  const wrong = new Map();
  for (const field of form.querySelectorAll(".field")) {
    try {
      const text = value(field);
      if (text !== null) members.push(`${JSON.stringify(field.dataset.name)}:${text}`);
    } catch (error) {
      wrong.set(field.dataset.name, error.message);
    }
  }
  return { text: `{${members.join(",")}}`, wrong };
}

/** JSON is written here and not by JSON.stringify, which cannot hold large integers. Null: it was left out. */
function value(field) {
  const control = controlOf(field);
  const { kind, item } = field.dataset;
  if (kind === "boolean") return String(control.checked);
  if (control.validity.badInput) throw new Error("This is not a number.");
  if (kind === "list") {
    const lines = control.value.split("\n").filter((line) => line.trim() !== "");
    // An empty list is an input like others where there was something to take away.
    return lines.length || control.defaultValue.trim() ? `[${lines.map((line) => single(item, line)).join(",")}]` : null;
  }
  if (control.value === "") return kind === "text" && control.defaultValue ? '""' : null;
  return single(kind, control.value);
}

function single(kind, text) {
  switch (kind) {
    case "integer":
    case "number":
      return number(text.trim());
    case "choice":
      return text; // the option's value is JSON already
    case "json":
    case "boolean":
      return parsed(text);
    case "file":
      return JSON.stringify(text.trim());
    default:
      return JSON.stringify(text);
  }
}

function number(text) {
  if (/^[+-]?\d+$/.test(text)) return BigInt(text.replace("+", "")).toString();
  const value = Number(text);
  if (text === "" || !Number.isFinite(value)) throw new Error(`${text} is not a number.`);
  return String(value);
}

function parsed(text) {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new Error(`This is not JSON: ${error.message}. Text stands in double quotes.`);
  }
  return text;
}

/** Show what is wrong, by name of the field, and nothing else as wrong; returns what belongs to no field. */
export function mark(form, wrong) {
  const left = new Map(wrong);
  let first = null;
  for (const field of form.querySelectorAll(".field")) {
    const message = left.get(field.dataset.name);
    left.delete(field.dataset.name);
    const control = controlOf(field);
    const error = field.querySelector(".error");
    error.textContent = message ?? "";
    error.hidden = !message;
    if (message) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
    if (message) first ??= control;
  }
  first?.focus();
  return [...left.values()];
}

/** What the server found wrong: `input.times`, `input.images.0`; of a missing field only the sentence says the name. */
export function refusals(problem) {
  const wrong = new Map();
  for (const { type, field, description } of problem.invalid_fields ?? []) {
    const missing = type === "required" && field === "input" ? description.replace(/ is required$/, "") : null;
    const name = missing ?? field.split(".")[1] ?? field;
    const place = missing === null && field.split(".").length > 2 ? `${field.split(".").slice(2).join(".")}: ` : "";
    wrong.set(name, missing === null ? place + description : "This is required.");
  }
  return wrong;
}

/** Send files to the server as soon as they are chosen, and put their URLs into the field. */
export function prepareUploads(form) {
  const pending = new Set();
  for (const chooser of form.querySelectorAll(".chooser")) {
    const field = chooser.closest(".field");
    chooser.addEventListener("change", () => {
      const files = [...chooser.files];
      chooser.value = "";
      const upload = uploadAll(field, files).finally(() => pending.delete(upload));
      pending.add(upload);
    });
  }
  return () => Promise.all(pending);
}

async function uploadAll(field, files) {
  const control = controlOf(field);
  const hint = field.querySelector(".hint");
  const before = [...hint.childNodes];
  const error = field.querySelector(".error");
  error.hidden = true;
  field.setAttribute("aria-busy", "true");
  try {
    for (const file of files) {
      hint.textContent = `Uploading ${file.name}…`;
      const url = await upload(file);
      control.value = field.dataset.kind === "list" ? [...control.value.split("\n"), url].filter(Boolean).join("\n") : url;
    }
    hint.textContent = `${files.map((file) => file.name).join(", ")} uploaded.`;
  } catch (failure) {
    error.textContent = failure.message;
    error.hidden = false;
    hint.replaceChildren(...before);
  } finally {
    field.removeAttribute("aria-busy");
  }
}

async function upload(file) {
  const body = new FormData();
  body.append("content", file, file.name);
  const answer = await fetch("v1/files", { method: "POST", body });
  const said = await answer.json();
  if (!answer.ok) throw new Error(`${file.name} was not taken: ${said.detail}`);
  return said.urls.get;
}

function controlOf(field) {
  return field.querySelector("textarea, select, input:not(.chooser)");
}
