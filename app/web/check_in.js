"use strict";
// Asks what is due, shows one form after the other, sends the answers. No dependency, no build step, no markup from
// strings. Answers live in the memory of this page alone: what a browser keeps, the next person at a shared one reads.

const API = new URL("v1/", document.baseURI);
const WAIT_MS = 20000; // for one answer of the service
const PAUSES_MS = [1000, 3000, 8000]; // before it is asked again by itself
let token = "";
let waiting = []; // forms still to be answered
let total = 0;
let sending = null; // the body on its way; repeated word for word until it is known to have arrived
let clockSkewMs = 0; // the service's clock less ours: a telephone's may be years off

const byId = (id) => document.getElementById(id);

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// --- Asking the service ----------------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status) {
    super(String(status));
    this.status = status;
  }
}

/** Its JSON. Throws Refused for an answer that repeating would not change, any other error for a passing trouble. */
async function ask(path, body) {
  const control = new AbortController();
  const timer = setTimeout(() => control.abort(), WAIT_MS);
  try {
    const answer = await fetch(new URL(path, API), {
      method: body ? "POST" : "GET",
      headers: { Authorization: `Bearer ${token}`, ...(body && { "Content-Type": "application/json" }) },
      body: body && JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      signal: control.signal,
    });
    learnTime(answer.headers.get("Date"));
    if (answer.ok) return await answer.json();
    if (answer.status < 500 && answer.status !== 429) throw new Refused(answer.status);
    throw new Error("busy");
  } finally {
    clearTimeout(timer);
  }
}

/** The same, and after a passing trouble a few times more. */
async function askPatiently(path, body) {
  for (const pause of [...PAUSES_MS, null]) {
    try {
      return await ask(path, body);
    } catch (error) {
      if (error instanceof Refused || pause === null || navigator.onLine === false) throw error;
      await new Promise((resume) => setTimeout(resume, pause));
    }
  }
  return undefined;
}

function learnTime(date) {
  const theirs = Date.parse(date ?? "");
  if (!Number.isNaN(theirs) && Math.abs(theirs - Date.now()) > 5000) clockSkewMs = theirs - Date.now();
}

/** RFC 3339 in the zone of this device. */
function timestamp() {
  const now = new Date(Date.now() + clockSkewMs);
  const ahead = -now.getTimezoneOffset();
  const local = new Date(now.getTime() + ahead * 60000).toISOString().slice(0, 19);
  const pad = (number) => String(number).padStart(2, "0");
  const minutes = Math.abs(ahead);
  return `${local}${ahead < 0 ? "-" : "+"}${pad(Math.floor(minutes / 60))}:${pad(minutes % 60)}`;
}

/** A random UUID; crypto.randomUUID is missing where the page came over plain http. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// --- Showing ---------------------------------------------------------------------------------------------------------

function show(id, focused) {
  for (const part of ["message", "form"]) byId(part).hidden = part !== id;
  window.scrollTo(0, 0);
  byId(focused).focus({ preventScroll: true });
}

function tell(title, text, { again = null } = {}) {
  byId("message-title").textContent = title;
  byId("message-text").textContent = text;
  byId("again").hidden = again === null;
  byId("again").onclick = again;
  byId("progress").textContent = "";
  show("message", "message-title");
}

const CLINIC = "Your clinic can send you a new one.";
const DEAD_LINK = ["This link no longer works", `It may have expired, been used often enough, or been withdrawn. ${CLINIC}`];
const OFFLINE = "We cannot reach the service. Check that you are online.";

function showForm() {
  const { instrument } = waiting[0];
  const language = instrument.languages[0];
  byId("form").lang = language;
  byId("form-title").textContent = instrument.title;
  byId("form-instruction").textContent = instrument.instruction;
  byId("copyright").textContent = instrument.copyright;
  byId("items").replaceChildren(...instrument.items.map(item));
  byId("progress").textContent = total > 1 ? `Form ${total - waiting.length + 1} of ${total}` : "";
  byId("missing").hidden = byId("trouble").hidden = true;
  freeze(false);
  show("form", "form-title");
}

function item({ number, text, answers }) {
  const name = `item-${number}`;
  const clear = el("button", { type: "button", class: "clear", hidden: true }, "Clear this answer");
  const choices = answers.map(({ value, label }) =>
    el("label", { class: "choice" },
      el("input", { type: "radio", name, value, change: () => { clear.hidden = false; byId("missing").hidden = true; } }),
      el("span", {}, label)));
  const fieldset = el("fieldset", { id: name },
    el("legend", {}, el("span", { class: "number" }, `${number}. `), text),
    el("div", { class: "answers" }, ...choices),
    clear);
  clear.addEventListener("click", () => {
    for (const radio of fieldset.querySelectorAll("input")) radio.checked = false;
    clear.hidden = true;
    fieldset.querySelector("input").focus();
  });
  return fieldset;
}

/** One number or null for each item, in their order. */
function responses() {
  return waiting[0].instrument.items.map(({ number }) => {
    const chosen = document.querySelector(`#item-${number} input:checked`);
    return chosen === null ? null : Number(chosen.value);
  });
}

function freeze(frozen) {
  for (const control of byId("items").querySelectorAll("fieldset")) control.disabled = frozen;
  byId("send").disabled = byId("anyway").disabled = byId("back").disabled = frozen;
  byId("send").textContent = "Send";
}

// --- Sending ---------------------------------------------------------------------------------------------------------

function askAboutMissing(left, isEmpty) {
  const some = left.length === 1 ? `Question ${left[0]} is not answered` : `Questions ${listed(left)} are not answered`;
  byId("missing-title").textContent = isEmpty ? "No question is answered yet" : some;
  byId("anyway").hidden = isEmpty;
  byId("missing").hidden = false;
  byId("back").onclick = () => document.querySelector(`#item-${left[0]} input`).focus();
  byId("missing-title").focus();
}

function listed(numbers) {
  return `${numbers.slice(0, -1).join(", ")} and ${numbers.at(-1)}`;
}

async function submit({ asItIs = false }) {
  if (sending === null) {
    const answers = responses();
    const left = waiting[0].instrument.items.filter(({ required }, index) => required && answers[index] === null);
    const isEmpty = answers.every((answer) => answer === null);
    if (isEmpty || (left.length > 0 && !asItIs)) {
      return askAboutMissing(left.map(({ number }) => number), isEmpty);
    }
    sending = {
      id: newId(),
      expected_id: waiting[0].expected_id,
      responses: answers,
      taken_at: timestamp(),
      language: byId("form").lang,
    };
  }
  return deliver();
}

async function deliver() {
  byId("missing").hidden = byId("trouble").hidden = true;
  freeze(true);
  byId("send").textContent = "Sending…";
  const sent = sending;
  const [answer, error] = await askPatiently("check-in/forms", sent).then((told) => [told, null], (trouble) => [null, trouble]);
  if (sending !== sent) return; // another link was opened meanwhile
  if (error === null) arrived(answer);
  else if (error instanceof Refused) refused(error.status);
  else keepForLater();
}

/** The form stays frozen: whether it arrived is not known, and other answers under its id would be refused. */
function keepForLater() {
  byId("trouble-text").textContent = `${OFFLINE} Your answers are still here, on this page alone: leave it open and send ` +
    "them again. Sending twice does no harm.";
  byId("trouble").hidden = false;
  byId("send").disabled = false;
  byId("send").textContent = "Send again";
  byId("send").focus();
}

function arrived({ safety_text: safetyText }) {
  byId("said").textContent = "Your answers have arrived.";
  if (safetyText === null) return next();
  byId("safety-text").textContent = safetyText;
  byId("safety").hidden = false;
  byId("crisis").hidden = true; // the clinic's own words stand in its place
  if (waiting.length === 1) next();
  else {
    byId("go-on").hidden = false;
    byId("form").hidden = true;
    sending = null;
  }
  window.scrollTo(0, 0);
  byId("safety-title").focus({ preventScroll: true });
  return undefined;
}

function next() {
  sending = null;
  byId("go-on").hidden = true;
  waiting.shift();
  if (waiting.length > 0) showForm();
  else {
    forgetLink();
    tell("Thank you", "Your answers have arrived. You can close this page.");
  }
}

function refused(status) {
  if (status === 401 || status === 403) {
    sending = null;
    return tell(...DEAD_LINK);
  }
  if (status === 404 || status === 409) {
    sending = null;
    return tell("This form is no longer asked for", "It was answered already, or its time is over. Nothing was stored now.", {
      again: start,
    });
  }
  sending = null;
  return tell("This form could not be taken", "Nothing was stored. Please tell your clinic that it happened.", { again: start });
}

// --- Beginning and end -----------------------------------------------------------------------------------------------

async function start() {
  waiting = [];
  sending = null;
  tell("One moment", "Looking up what is due.");
  const asked = token;
  let due = [];
  try {
    due = (await askPatiently("check-in")).forms;
  } catch (error) {
    if (token !== asked) return undefined;
    if (error instanceof Refused) return tell(...DEAD_LINK);
    return tell("No connection", OFFLINE, { again: start });
  }
  if (token !== asked) return undefined; // another link was opened meanwhile
  waiting = due;
  total = waiting.length;
  if (total === 0) return tell("Nothing is due now", "You have answered everything, or it is not time yet.");
  return showForm();
}

/** Not before the end: telephones throw pages away and load them again from the address. */
function forgetLink() {
  history.replaceState(null, "", location.pathname);
}

function open() {
  token = location.hash.slice(1);
  byId("safety").hidden = true;
  byId("crisis").hidden = false;
  if (token) return start();
  return tell("Open the link you were sent", "The address of this page lacks its last part. Open it from your message again, or copy all of it.");
}

byId("form").addEventListener("submit", (event) => { event.preventDefault(); submit({}); });
byId("anyway").addEventListener("click", () => submit({ asItIs: true })); // no submit button: Enter would press it
byId("go-on").addEventListener("click", next);
window.addEventListener("hashchange", open);
window.addEventListener("online", () => { if (sending !== null && !byId("trouble").hidden) deliver(); });
window.addEventListener("beforeunload", (event) => {
  if (sending !== null || document.querySelector("#items input:checked") !== null && !byId("form").hidden) event.preventDefault();
});
open();
