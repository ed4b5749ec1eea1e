// Numbers and times as text.
import { h } from "./dom.js";

const NUMBERS = new Intl.NumberFormat("en");
let clockOffsetMs = 0;

/** The server's clock says `serverMs` now: ages go by it, whatever the browser's clock says. */
export function setClock(serverMs) {
  clockOffsetMs = serverMs - Date.now();
}

const nowMs = () => Date.now() + clockOffsetMs;
const ms = (ns) => ns / 1e6;

export function count(value) {
  return NUMBERS.format(value);
}

export function rate(value) {
  return value >= 100 ? count(Math.round(value)) : value.toFixed(1);
}

/** Above its last bound, a histogram does not tell values apart. */
const OVER_S = 30;

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value >= OVER_S) return `${OVER_S} s and more`;
  return value >= 1 ? `${value.toFixed(2)} s` : `${(value * 1000).toFixed(1)} ms`;
}

/** In its two largest units, as the console has it. */
function duration(milliseconds) {
  const whole = Math.max(0, Math.floor(milliseconds / 1000));
  const two = (value) => String(value).padStart(2, "0");
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86400)}d${Math.floor((whole % 86400) / 3600)}h`;
}

export function megabytes(value) {
  return value >= 10240 ? `${count(Math.round(value / 1024))} GB` : `${count(value)} MB`;
}

export function clock(ns) {
  return new Date(ms(ns)).toLocaleTimeString("en-GB");
}

/** How long ago, which goes on by itself. */
export function age(ns) {
  if (!ns) return "–";
  return h("time", { "data-since": ns, datetime: new Date(ms(ns)).toISOString() }, duration(nowMs() - ms(ns)));
}

/** How long until then, which goes on by itself. */
export function until(ns) {
  return h("time", { "data-until": ns, datetime: new Date(ms(ns)).toISOString() }, duration(ms(ns) - nowMs()));
}

export function tick() {
  for (const each of document.querySelectorAll("time[data-since]")) set(each, nowMs() - ms(Number(each.dataset.since)));
  for (const each of document.querySelectorAll("time[data-until]")) set(each, ms(Number(each.dataset.until)) - nowMs());
}

/** Only if it differs, so that text that somebody has selected stays selected. */
function set(time, milliseconds) {
  const text = duration(milliseconds);
  if (time.textContent !== text) time.textContent = text;
}
