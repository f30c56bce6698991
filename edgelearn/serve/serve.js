// Keeps the page as the store is: asks whether there is a newer one, and puts its main part in place of the old.
"use strict";

const SOONEST_MS = 2000;
const LATEST_MS = 30000;
const PATIENCE_MS = 60000;
const status = document.getElementById("live");
let wait = SOONEST_MS;

function tell(text, stale) {
  status.textContent = text;
  status.classList.toggle("stale", stale);
}

// What the reader has opened, ticked and scrolled is not in the newer page.
function kept(main) {
  return {
    open: [...main.querySelectorAll("details")].map((part) => part.open),
    left: [...main.querySelectorAll(".scroll")].map((part) => part.scrollLeft),
    ticked: new Set([...main.querySelectorAll("input:checked")].map((box) => box.value)),
    focus: document.activeElement instanceof HTMLInputElement ? document.activeElement.value : null,
  };
}

function restore(main, was) {
  main.querySelectorAll("details").forEach((part, i) => { part.open = was.open[i] === true; });
  main.querySelectorAll(".scroll").forEach((part, i) => { part.scrollLeft = was.left[i] || 0; });
  main.querySelectorAll("input").forEach((box) => {
    box.checked = was.ticked.has(box.value);
    if (box.value === was.focus) box.focus({ preventScroll: true });
  });
}

function busy() {
  return document.hidden || !getSelection().isCollapsed;
}

async function look() {
  const old = document.querySelector("main");
  const began = performance.now();
  const answer = await fetch(location.href, {
    cache: "no-store", redirect: "error", signal: AbortSignal.timeout(PATIENCE_MS),
    headers: old.dataset.tag ? { "If-None-Match": old.dataset.tag } : {},
  });
  if (answer.status === 200) {
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    const was = kept(old);
    old.replaceWith(document.adoptNode(fresh));
    restore(fresh, was);
  } else if (answer.status !== 304) {
    throw new Error(`answer ${answer.status}`);
  }
  // A large store takes a while to read: that must not become all that the computer does.
  wait = Math.max(SOONEST_MS, 10 * (performance.now() - began));
  tell(`As the store is, looked at ${new Date().toLocaleTimeString()}.`, false);
}

async function turn() {
  try {
    if (!busy()) await look();
  } catch (error) {
    wait = Math.min(2 * wait, LATEST_MS);
    tell(`No answer from edgelearn serve (${error.message}): what is shown may be old.`, true);
  }
  setTimeout(turn, wait);
}

setTimeout(turn, SOONEST_MS);
