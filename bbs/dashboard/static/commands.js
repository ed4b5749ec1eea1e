// Each number is a link to the command that prints it.
import { h } from "./dom.js";
import { count } from "./format.js";

const dialog = document.getElementById("command");
const CURL = location.protocol === "https:"
  ? 'curl -s --cacert "$CA_CERT_FILE" --cert "$CLIENT_CERT_FILE" --key "$CLIENT_KEY_FILE"' : "curl -s";
let commands = {};
let serverURL = "";

/** Throws if the server does not give them. */
export async function load() {
  const answer = await fetch("/dashboard/commands.json");
  if (!answer.ok) throw new Error(`the commands: ${answer.status}`);
  commands = await answer.json();
}

export function setServer(url) {
  serverURL = url;
}

/** A number, or a text about one, that leads to its command. `about` fills in the command's words. */
export function figure(value, command, about = {}, style = "") {
  const address = `#/command/${command}?${new URLSearchParams(about)}`;
  const text = typeof value === "number" ? count(value) : value;
  return h("a", { class: `figure ${style}`.trim(), href: address, title: "the command that prints this" }, text);
}

/** The link, which a screen reader calls by its number and what that counts. */
export function labelled(link, words) {
  return { ...link, attributes: { ...link.attributes, "aria-label": `${link.children.join("")} ${words}: show its command` } };
}

/** Words that others chose, quoted for a shell where it needs that. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

const CHOSEN_BY_OTHERS = new Set(["cell", "guid", "task"]);

/** The command as a line for a shell, "" if there is none. An address can be anybody's: all other words than guids and cells stand
 * within quotes of the line, and so have to be plain. */
export function lineOf(name, about) {
  if (!Object.hasOwn(commands, name)) return "";
  const known = { debug: location.host, origin: location.origin, curl: CURL };
  const isPlain = ([word, value]) => CHOSEN_BY_OTHERS.has(word) || /^\w+$/.test(value);
  if (!Object.entries(about).every(isPlain)) return "";
  return commands[name].line.replace(/\{(\w+)\}/g, (whole, word) => known[word] ?? (Object.hasOwn(about, word) ? quoted(about[word]) : whole));
}

export function printsOf(name) {
  return `It prints ${commands[name]?.prints ?? "nothing that is known"}.`;
}

function show(name, about) {
  const command = lineOf(name, about);
  document.getElementById("command-prints").textContent = printsOf(name);
  document.getElementById("command-line").textContent = command;
  document.getElementById("command-before").textContent = command.startsWith("bbs")
    ? `It asks the server that BBS_URL names${serverURL ? `, here ${serverURL}` : ""}, or --target.` : "";
  if (!dialog.open) dialog.showModal();
}

/** The name and the words of a link that `figure` has made, or null. */
export function parse(hash) {
  const found = /^#\/command\/([\w-]+)(?:\?(.*))?$/.exec(hash);
  return found && { name: found[1], about: Object.fromEntries(new URLSearchParams(found[2] ?? "")) };
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a.figure");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const { name, about } = parse(link.getAttribute("href"));
  show(name, about);
});
document.getElementById("command-close").addEventListener("click", () => dialog.close());
document.getElementById("command-copy").addEventListener("click", async (event) => {
  try {
    await navigator.clipboard.writeText(document.getElementById("command-line").textContent);
    event.target.textContent = "Copied";
  } catch {
    event.target.textContent = "Select it, and copy by hand";
  }
  setTimeout(() => { event.target.textContent = "Copy"; }, 2000);
});
