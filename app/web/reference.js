"use strict";
// Draws the API reference from openapi.json. No dependency, no build step, and no markup from strings: every text of
// the document becomes a text node.

const ROOT = new URL(".", document.baseURI);
const METHODS = ["get", "post", "put", "patch", "delete"];
let spec;

// --- Nodes -----------------------------------------------------------------------------------------------------------

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return node;
}

/** Text with `code` in it. */
function prose(text) {
  return String(text ?? "").split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
}

const TOKENS = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

function highlighted(json) {
  const nodes = [];
  let end = 0;
  for (const match of json.matchAll(TOKENS)) {
    const kind = match[2] ? "key" : match[1] ? "string" : match[3] ? "word" : "number";
    nodes.push(json.slice(end, match.index), el("span", { class: `json-${kind}` }, match[1] ?? match[0]), match[2]);
    end = match.index + match[0].length;
  }
  return [...nodes, json.slice(end)];
}

/** JSON as people write it: short lists on one line. */
function pretty(value) {
  const onOneLine = (_, inside) => `[${inside.replace(/\s*\n\s*/g, " ")}]`;
  return JSON.stringify(value, null, 2).replace(/\[\s*([^[\]{}"]{0,200}?)\s*\]/g, onOneLine);
}

function codeBlock(label, text, isJson) {
  const copy = el("button", { type: "button", class: "copy", click: () => copyText(copy, text) }, "Copy");
  return el("figure", { class: "code" },
    el("figcaption", {}, label, copy),
    el("pre", { tabindex: "0", "aria-label": label }, el("code", {}, isJson ? highlighted(text) : text)));
}

async function copyText(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed here"; // browsers give the clipboard to secure origins alone
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

// --- Schemas ---------------------------------------------------------------------------------------------------------

function resolve(node) {
  let found = node;
  while (found?.$ref) found = found.$ref.slice(2).split("/").reduce((place, key) => place[key], spec);
  return found ?? {};
}

const refName = (schema) => schema.$ref?.split("/").at(-1);
const isNull = (schema) => schema.type === "null";
const alternatives = (schema) => (schema.anyOf ?? schema.oneOf ?? [schema]).filter((one) => !isNull(resolve(one)));

function typeName(schema) {
  const known = resolve(schema);
  if (known.anyOf || known.oneOf) return (known.anyOf ?? known.oneOf).map(typeName).join(" or ");
  if (known.const !== undefined) return JSON.stringify(known.const);
  if (known.enum) return known.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (known.type === "array") return `list of ${grouped(known.items)}`;
  if (known.type === "object") {
    return known.additionalProperties ? `object of ${grouped(known.additionalProperties)}` : "object";
  }
  const format = { uuid: "UUID", "date-time": "time", date: "date" }[known.format];
  return format ?? known.type ?? "anything";
}

function grouped(schema) {
  const name = typeName(schema ?? {});
  return name.includes(" or ") ? `(${name})` : name;
}

function limits(schema) {
  return alternatives(schema).map(resolve).flatMap((known) => [
    known.minimum !== undefined && `at least ${known.minimum}`,
    known.maximum !== undefined && `at most ${known.maximum}`,
    known.minLength > 1 ? `at least ${known.minLength} characters` : known.minLength === 1 && "not empty",
    known.maxLength && `at most ${known.maxLength} characters`,
    known.maxItems && `at most ${known.maxItems} entries`,
    known.pattern && `matches \`${known.pattern}\``,
  ]).filter(Boolean).join(", ");
}

/** The objects whose fields are worth listing under a field: its own, its entries', its alternatives'. */
function inner(schema) {
  const known = resolve(schema);
  if (known.properties) return [schema];
  const parts = [...(known.anyOf ?? known.oneOf ?? []), known.items, known.additionalProperties];
  return parts.filter((part) => part && typeof part === "object").flatMap(inner);
}

function fieldRow(name, schema, { required, description, where, seen = [] }) {
  const known = resolve(schema);
  const text = description ?? schema.description ?? (schema.$ref ? "" : known.description);
  const fallback = schema.default ?? undefined;
  const details = inner(schema).filter((part) => !seen.includes(refName(part) ?? part));
  return el("li", {},
    el("div", { class: "field" },
      el("code", { class: "name" }, name), " ", el("span", { class: "type" }, typeName(schema)), " ",
      where && el("span", { class: "muted" }, `in ${where} `),
      required && el("span", { class: "required" }, "required"),
      fallback !== undefined && el("span", { class: "muted" }, "default ", el("code", {}, JSON.stringify(fallback)))),
    (text || limits(schema)) && el("div", { class: "about" }, prose(text), text && limits(schema) && " ",
      limits(schema) && el("span", { class: "muted" }, prose(limits(schema)))),
    details.map((part) => el("details", { class: "inner" },
      el("summary", {}, `Fields of ${name}`), fields(part, [...seen, refName(part) ?? part]))));
}

function fields(schema, seen = []) {
  const known = resolve(schema);
  const required = new Set(known.required);
  return el("ul", { class: "fields" }, Object.entries(known.properties ?? {}).map(([name, part]) =>
    fieldRow(name, part, { required: required.has(name) && known.additionalProperties === false, seen })));
}

// --- Operations ------------------------------------------------------------------------------------------------------

function operations() {
  return Object.entries(spec.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ path, method, ...item[method] })));
}

const badge = (method) => el("span", { class: `method ${method}` }, method.toUpperCase());

function drawOperation(operation) {
  const { operationId, path, method, summary, description } = operation;
  const parameters = (operation.parameters ?? []).map(resolve);
  return el("article", { id: operationId, class: "operation", "aria-labelledby": `${operationId}-title` },
    el("h3", { id: `${operationId}-title` }, el("a", { href: `#${operationId}` }, summary)),
    el("p", { class: "path" }, badge(method), " ", el("code", {}, breakable(path))),
    el("div", { class: "sides" },
      el("div", { class: "words" },
        description && description.split(/\n\s*\n/).map((part) => el("p", {}, prose(part))),
        el("p", { class: "muted roles" }, operation.security
          ? ["Roles: ", (operation["x-roles"] ?? []).join(", ")] : "No token needed."),
        parameters.length > 0 && [el("h4", {}, "Parameters"), drawParameters(parameters)],
        drawBodyFields(operation),
        el("h4", {}, "Answers"), drawAnswers(operation)),
      el("div", { class: "samples" },
        codeBlock("Request", curl(operation, sampleRequest(operation)), false),
        drawAnswerExample(operation),
        tryIt(operation, parameters))));
}

/** Lets long paths wrap before a slash. */
const breakable = (path) => path.split(/(?=\/)/).flatMap((part) => [el("wbr"), part]);

const drawParameters = (parameters) => el("ul", { class: "fields" }, parameters.map((parameter) =>
  fieldRow(parameter.name, parameter.schema, {
    required: parameter.required, description: parameter.description ?? "", where: parameter.in })));

const jsonOf = (message) => resolve(message).content?.["application/json"];

function drawBodyFields({ requestBody }) {
  const schema = jsonOf(requestBody)?.schema;
  return schema && [el("h4", {}, "Body"),
    el("p", { class: "muted" }, prose(resolve(schema).description)), fields(schema)];
}

function drawAnswers({ responses }) {
  return el("ul", { class: "answers" }, Object.entries(responses).map(([status, raw]) => {
    const response = resolve(raw);
    const problems = Object.entries(response.content?.["application/problem+json"]?.examples ?? {});
    const schema = jsonOf(response)?.schema;
    const parts = schema ? inner(schema) : [];
    return el("li", {},
      el("span", { class: `status s${status[0]}` }, status), " ",
      problems.length > 0
        ? problems.map(([slug, example], index) => [index > 0 && " or ",
          el("a", { href: `problems/${slug}`, title: resolve(example).description }, resolve(example).summary)])
        : prose(response.description),
      parts.map((part) => el("details", { class: "inner" },
        el("summary", {}, "Fields"), fields(part, [refName(part)]))));
  }));
}

function drawAnswerExample({ responses }) {
  const [status, response] = Object.entries(responses).find(([code]) => code.startsWith("2")) ?? [];
  const example = status && jsonOf(response)?.example;
  return example !== undefined && codeBlock(`Answer ${status}`, pretty(example), true);
}

// --- Requests --------------------------------------------------------------------------------------------------------

function sampleValue({ name, schema, example }) {
  const known = resolve(schema);
  if (known.format === "uuid") return "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a";
  return example ?? known.examples?.[0] ?? known.enum?.[0] ?? `{${name}}`;
}

function sampleRequest(operation) {
  const required = (operation.parameters ?? []).map(resolve).filter((parameter) => parameter.required);
  const example = jsonOf(operation.requestBody)?.example;
  return requestFor(operation, required.map((parameter) => [parameter, sampleValue(parameter)]),
    example === undefined ? undefined : pretty(example));
}

/** `values` are pairs of a parameter and its text; empty texts are left out. */
function requestFor({ path, method }, values, body) {
  const given = values.filter(([, text]) => text !== "");
  const filled = given.filter(([parameter]) => parameter.in === "path").reduce(
    (address, [{ name }, text]) => address.replace(`{${name}}`, encodeURIComponent(text)), path);
  const url = new URL(filled.slice(1), ROOT);
  const headers = {};
  for (const [parameter, text] of given) {
    if (parameter.in === "query") url.searchParams.append(parameter.name, text);
    if (parameter.in === "header") headers[parameter.name] = text;
  }
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return { url, method: method.toUpperCase(), headers, body };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl(operation, request) {
  return [
    `curl ${request.method === "GET" ? "" : `-X ${request.method} `}${quoted(request.url.href)}`,
    operation.security && '-H "Authorization: Bearer $TIDEMARK_TOKEN"',
    ...Object.entries(request.headers).map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
    request.body !== undefined && `-d ${quoted(request.body)}`,
  ].filter(Boolean).join(" \\\n  ");
}

function control(parameter, id) {
  const known = resolve(alternatives(resolve(parameter.schema))[0]);
  const required = parameter.required || false;
  if (known.enum) {
    return el("select", { id, required }, !required && el("option", { value: "" }, ""),
      known.enum.map((value) => el("option", { value }, String(value))));
  }
  return el("input", { id, required, type: "text", autocomplete: "off", spellcheck: "false",
    value: known.examples && required ? known.examples[0] : null,
    placeholder: parameter.schema.default ?? typeName(parameter.schema).replace(" or null", "") });
}

function tryIt(operation, parameters) {
  const id = (name) => `${operation.operationId}-try-${name}`;
  const controls = parameters.map((parameter) => [parameter, control(parameter, id(parameter.name))]);
  const example = jsonOf(operation.requestBody)?.example;
  const text = example === undefined ? "" : pretty(example);
  const body = text && el("textarea", { id: id("body"), rows: text.split("\n").length + 1, spellcheck: "false" }, text);
  const send = el("button", { type: "submit" }, `Send ${operation.method.toUpperCase()}`);
  const result = el("div", { class: "result" });
  const said = el("p", { role: "status", class: "said" });
  async function submit(event) {
    event.preventDefault();
    send.disabled = true;
    said.textContent = "Sending…";
    result.replaceChildren();
    const values = controls.map(([parameter, input]) => [parameter, input.value.trim()]);
    await show(requestFor(operation, values, body ? body.value : undefined), operation, said, result);
    send.disabled = false;
  }
  return el("details", { class: "try" }, el("summary", {}, "Try it"),
    el("form", { submit, autocomplete: "off" },
      operation.method !== "get" && operation["x-permission"]?.endsWith(":write")
        && el("p", { class: "warning" }, "This writes to the clinic of your token."),
      controls.map(([parameter, input]) => el("div", { class: "control" },
        el("label", { for: input.id }, el("code", {}, parameter.name), parameter.required && " (required)"), input)),
      body && el("div", { class: "control" }, el("label", { for: body.id }, "Body"), body),
      send),
    said, result);
}

async function show(request, operation, said, result) {
  const token = document.getElementById("token").value.trim();
  const headers = new Headers(request.headers);
  if (token && operation.security) headers.set("Authorization", `Bearer ${token}`);
  const started = performance.now();
  try {
    const answer = await fetch(request.url, { method: request.method, headers, body: request.body,
      credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer" });
    const text = await answer.text();
    const line = `${answer.status} ${answer.statusText}`.trim();
    const duration = ` in ${Math.round(performance.now() - started)} ms`;
    said.replaceChildren(el("span", { class: `status s${String(answer.status)[0]}` }, line), duration);
    result.replaceChildren(
      text ? bodyBlock(answer, text) : el("p", { class: "muted" }, "No body."),
      codeBlock("Answer headers", [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n"), false),
      codeBlock("Sent as", curl(operation, request), false));
  } catch (error) {
    said.textContent = `No answer: ${error.message}`;
  }
}

function bodyBlock(answer, text) {
  const isJson = /[/+]json/.test(answer.headers.get("content-type") ?? "");
  try {
    return codeBlock("Answer body", isJson ? pretty(JSON.parse(text)) : text, isJson);
  } catch {
    return codeBlock("Answer body, not the JSON it says it is", text, false);
  }
}

// --- The page --------------------------------------------------------------------------------------------------------

function draw() {
  document.getElementById("version").textContent = spec.info.version;
  const all = operations();
  const groups = spec.tags.map((tag) => ({ ...tag, members: all.filter((one) => one.tags?.includes(tag.name)) }));
  const title = (name) => name[0].toUpperCase() + name.slice(1).replaceAll("-", " ");
  document.getElementById("groups").replaceChildren(...groups.map((group) => el("section", {},
    el("h2", {}, el("a", { href: `#tag-${group.name}` }, title(group.name))),
    el("ul", {}, group.members.map(contentsLine)))));
  const main = document.getElementById("operations");
  main.replaceChildren(...groups.map((group) => el("section", { id: `tag-${group.name}`, class: "group" },
    el("h2", {}, title(group.name)), el("p", {}, prose(group.description)), group.members.map(drawOperation))));
  main.removeAttribute("aria-busy");
  followScrolling();
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

function contentsLine({ method, path, summary, operationId }) {
  return el("li", { "data-words": `${method} ${path} ${summary} ${operationId}`.toLowerCase() },
    el("a", { href: `#${operationId}` }, badge(method), el("span", {}, summary)));
}

function followScrolling() {
  const links = new Map([...document.querySelectorAll("#groups li a")].map((link) => [link.hash.slice(1), link]));
  const observer = new IntersectionObserver((entries) => {
    const entered = entries.find((entry) => entry.isIntersecting);
    if (!entered) return;
    for (const [id, link] of links) {
      if (id === entered.target.id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  document.querySelectorAll(".operation").forEach((article) => observer.observe(article));
}

function filterContents(words) {
  for (const section of document.querySelectorAll("#groups section")) {
    const items = [...section.querySelectorAll("li")];
    items.forEach((item) => (item.hidden = !words.every((word) => item.dataset.words.includes(word))));
    section.hidden = items.every((item) => item.hidden);
  }
}

function connect() {
  const token = document.getElementById("token");
  token.value = ""; // some browsers bring typed text back on reload
  document.getElementById("forget").addEventListener("click", () => { token.value = ""; token.focus(); });
  window.addEventListener("pagehide", () => (token.value = ""));
  const filter = document.getElementById("filter");
  filter.addEventListener("input", () => filterContents(filter.value.toLowerCase().split(/\s+/)));
  const contents = document.getElementById("contents");
  const wide = matchMedia("(min-width: 60rem)");
  const fit = () => (contents.open = wide.matches);
  wide.addEventListener("change", fit);
  contents.addEventListener("click", ({ target }) => {
    if (target.closest("a") && !wide.matches) contents.open = false;
  });
  fit();
}

async function start() {
  connect();
  try {
    const answer = await fetch(new URL("openapi.json", ROOT), { credentials: "omit" });
    if (!answer.ok) throw new Error(`openapi.json answered ${answer.status}`);
    spec = await answer.json();
    draw();
  } catch (error) {
    document.getElementById("operations").replaceChildren(
      el("p", { class: "failure", role: "alert" }, `The reference could not be drawn: ${error.message}.`));
  }
}

start();
