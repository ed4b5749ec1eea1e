// Which page is shown, and the stream that fills it. A stream that breaks is opened again until it works; what is shown meanwhile
// is marked as old. A page that nobody sees has no stream.
import { patch } from "./dom.js";
import * as commands from "./commands.js";
import { setClock, tick } from "./format.js";
import { measureBy, sortBy } from "./cells.js";
import { PAGES, commandPage, eventsPage, message } from "./pages.js";

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const RETRY_MS = 2000;
const HIDDEN_MS = 30000;
const SILENT_MS = 30000; // a stream that lives says something every ten seconds
const KEPT = 200;
const SECTIONS = ["header", "failed", "instances", "tasks", "domains", "troubles", "convergence", "cells", "plots", "apps", "app", "cell", "counts", "task", "store", "hubs"];
const LOST = "The server does not answer. This is what was last known; it is tried again and again.";

let route = null; // of the page, null if it is that of a command
let stream = null;
let heardAt = 0;
let sections = {};
let happened = null;
let version = null;
let retry = null;
let hidden = null;
let drawing = false;
let filled = false; // whether the fields of the page's form show what the address says

function readRoute() {
  const found = /^#\/([a-z]*)(?:\?(.*))?$/.exec(location.hash || "#/");
  return { name: found ? found[1] || "fleet" : "", parameters: Object.fromEntries(new URLSearchParams(found?.[2] ?? "")) };
}

const isOfEvents = () => route.name === "events";
const isView = () => Object.hasOwn(PAGES, route.name);

function go() {
  const command = commands.parse(location.hash);
  route = command ? null : readRoute();
  sections = {};
  happened = { kept: [], count: 0, leftOut: 0, paused: false };
  filled = false;
  for (const link of document.querySelectorAll("#pages a")) {
    const name = link.hash.slice(2) || "fleet";
    if (name === route?.name) link.setAttribute("aria-current", "page");
    else if (name === `${route?.name}s`) link.setAttribute("aria-current", "true"); // one of those
    else link.removeAttribute("aria-current");
  }
  open();
  if (command) show(commandPage(commands.lineOf(command.name, command.about), commands.printsOf(command.name)));
  else draw();
}

/** What a form's fields show is what the address says, until somebody changes them. */
function fill(form) {
  for (const field of form.elements) {
    if (field.type === "checkbox") field.checked = field.defaultChecked;
    else if (field.name) field.value = route.parameters[field.name] ?? "";
  }
}

function addressOfStream() {
  const { kind, ...parameters } = route.parameters;
  const words = new URLSearchParams(parameters);
  if (!isOfEvents()) return `/dashboard/live/${route.name}?${words}`;
  for (const each of kind?.split(",") ?? []) words.append("kind", each);
  return `/dashboard/events?${words}`;
}

function open() {
  close();
  // A browser has six connections to a server: tabs in the background are not to take them.
  if (!route || document.hidden || !(isView() || isOfEvents())) return;
  const own = new EventSource(addressOfStream());
  const on = (title, take) => own.addEventListener(title, (event) => {
    heardAt = Date.now();
    take(JSON.parse(event.data));
  });
  stream = own;
  heardAt = Date.now();
  own.addEventListener("open", () => tellLost(""));
  own.addEventListener("error", () => {
    if (own.readyState !== EventSource.CLOSED) {
      tellLost(LOST);
      return;
    }
    // A browser tries again by itself, but not after an answer that is none, such as a refusal or that of a proxy.
    retry = setTimeout(open, RETRY_MS);
    tellWhy(own);
  });
  on("alive", () => {});
  on("clock", setClock);
  on("events", take);
  for (const title of SECTIONS) {
    on(title, (value) => {
      sections[title] = value;
      soon();
    });
  }
}

function close() {
  clearTimeout(retry);
  stream?.close();
  stream = null;
}

/** A refusal says what to do, but an EventSource keeps that to itself. */
async function tellWhy(refused) {
  const reading = new AbortController();
  let why = LOST;
  try {
    const answer = await fetch(refused.url, { signal: reading.signal });
    if (!answer.ok && answer.headers.get("Content-Type")?.startsWith("text/plain")) why = (await answer.text()).trim();
  } catch { /* it is away */ }
  reading.abort();
  if (stream === refused) tellLost(why);
}

function take({ left_out: leftOut, events }) {
  happened.leftOut += leftOut;
  if (happened.paused) happened.leftOut += events.length;
  else {
    for (const each of events) each.key = happened.count++;
    happened.kept = [...events.reverse(), ...happened.kept].slice(0, KEPT);
  }
  soon();
}

/** Sections come one by one; the page is drawn once they are all there. */
function soon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; draw(); });
}

function draw() {
  if (!route) return;
  if (sections.header) header(sections.header);
  if (!isView() && !isOfEvents()) show(message("There is no such page", "The links above lead to those that there are."));
  else if (sections.failed) show(message("This page can't be shown", { tag: "span", attributes: { class: "bad" }, children: [sections.failed] }));
  else if (isOfEvents()) showWithForm(eventsPage({ ...happened, part: sections.header?.part }, route.parameters));
  else if ("failed" in sections) showWithForm(PAGES[route.name](sections, route.parameters)); // which comes last
  else if (isLost()) show(message("Nothing is known yet", "The page comes once the server answers."));
}

function show(content) {
  patch(main, content);
  filled = false;
  const title = `${main.querySelector("h1").textContent} – BBS`;
  if (document.title !== title) document.title = title;
  tick();
}

function showWithForm(content) {
  const isFilled = filled;
  show(content);
  if (!isFilled) for (const form of main.querySelectorAll(`form[data-form="${route.name}"]`)) fill(form);
  filled = true;
}

function header({ part, since_ns: since, not_ready: notReady, stale_s: stale, version: now, url }) {
  if (version !== null && version !== now) location.reload(); // another release: its scripts are to go with it
  version = now;
  commands.setServer(url);
  const words = [`${part}${notReady && part === "master" ? `, not ready: ${notReady}` : ""}`];
  if (part !== "master") words.push(stale === null ? "has not read all rows yet" : stale ? `${stale} s behind` : "up to date");
  if (since) words.push(`since ${new Date(since / 1e6).toLocaleString("en-GB")}`);
  words.push(`version ${now}`);
  if (url) words.push(url);
  patch(document.getElementById("server"), { tag: "a", attributes: { class: "figure", href: "#/command/server?", title: "the command that prints this" }, children: [words.join(" · ")] });
}

/** That the server is away, and what to do; "" if it answers. Said once, however often it is tried again. */
function tellLost(text) {
  if (connection.textContent === text) return;
  connection.textContent = text;
  connection.classList.toggle("lost", Boolean(text));
  main.classList.toggle("old", Boolean(text));
  soon();
}

const isLost = () => connection.textContent !== "";

document.addEventListener("submit", (event) => {
  const form = event.target;
  const name = form.dataset.form;
  if (!name) return;
  event.preventDefault();
  const given = new FormData(form);
  const words = {};
  for (const [field, value] of given) if (value && field !== "kind") words[field] = value;
  const kinds = given.getAll("kind");
  if (kinds.length && kinds.length < form.elements.kind.length) words.kind = kinds.join(",");
  const address = `#/${name}?${new URLSearchParams(words)}`;
  if (location.hash === address) fill(form);
  else location.hash = address;
});
document.addEventListener("change", (event) => {
  if (event.target.name !== "measure") return;
  measureBy(event.target.value);
  draw();
});
document.addEventListener("click", (event) => {
  const sort = event.target.closest?.("[data-sort]");
  const pause = event.target.closest?.("[data-pause]");
  const skip = event.target.closest?.("a.skip");
  if (skip) {
    event.preventDefault(); // the address stays that of the page
    document.getElementById(skip.hash.slice(1)).focus();
  }
  if (sort) sortBy(sort.dataset.sort);
  if (pause) happened.paused = !happened.paused;
  if (sort || pause) draw();
});
document.addEventListener("visibilitychange", () => {
  clearTimeout(hidden);
  if (document.hidden) hidden = setTimeout(close, HIDDEN_MS);
  else if (!stream) open();
});
addEventListener("pageshow", (event) => { if (event.persisted) open(); });

const THEMES = { "": "as the system's", light: "light", dark: "dark" };
const button = document.getElementById("theme");

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  button.textContent = `Theme: ${THEMES[theme]}`;
}

button.addEventListener("click", () => {
  const names = Object.keys(THEMES);
  const theme = names[(names.indexOf(document.documentElement.dataset.theme ?? "") + 1) % names.length];
  setTheme(theme);
  try {
    localStorage.setItem("theme", theme);
  } catch { /* this browser keeps nothing, and so no theme */ }
});

function keptTheme() {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null;
  }
}

async function loadCommands() {
  for (;;) {
    try {
      await commands.load();
      tellLost("");
      return;
    } catch {
      tellLost(LOST);
      await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
    }
  }
}

setTheme(Object.hasOwn(THEMES, keptTheme()) ? keptTheme() : "");
await loadCommands();
addEventListener("hashchange", () => { go(); main.focus(); scrollTo(0, 0); });
setInterval(() => {
  tick();
  if (stream && Date.now() - heardAt > SILENT_MS) {
    tellLost(LOST);
    open();
  }
}, 1000);
go();
