// Reads the form as the JSON text of an input, and shows what is wrong with its fields.

/** Read the whole form; `wrong` says why a field cannot be read, by the field's name. */
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

/** Return a field as JSON, or null if it was left out. Not by JSON.stringify, which cannot hold large integers. */
function value(field) {
  const control = controlOf(field);
  const { kind, item } = field.dataset;
  if (kind === "boolean") return String(control.checked);
  if (control.validity.badInput) throw new Error("This is not a number.");
  if (kind === "list") {
    const lines = control.value.split("\n").filter((line) => line.trim() !== "");
    // An empty list counts as an input if the field had a default to remove.
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
      return checkJson(text);
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

function checkJson(text) {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new Error(`This is not JSON: ${error.message}. Put text in double quotes.`);
  }
  return text;
}

/** Show what is wrong at each field, and clear all others; return the messages that belong to no field. */
export function mark(form, wrong) {
  const remaining = new Map(wrong);
  let first = null;
  for (const field of form.querySelectorAll(".field")) {
    const message = remaining.get(field.dataset.name);
    remaining.delete(field.dataset.name);
    const control = controlOf(field);
    const error = field.querySelector(".error");
    error.textContent = message ?? "";
    error.hidden = !message;
    if (message) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
    if (message) first ??= control;
  }
  first?.focus();
  return [...remaining.values()];
}

/** Return what the server refused, by field: `input.times`, `input.images.0`. A missing field is named only in the sentence. */
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
  const form = new FormData();
  form.append("content", file, file.name);
  const answer = await fetch("v1/files", { method: "POST", body: form });
  const body = await answer.json();
  if (!answer.ok) throw new Error(`${file.name} was refused: ${body.detail}`);
  return body.urls.get;
}

function controlOf(field) {
  return field.querySelector("textarea, select, input:not(.chooser)");
}
