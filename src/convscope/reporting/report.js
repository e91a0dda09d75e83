// Everything here is comfort: the page says and shows the same without it.
(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  root.classList.add("js");

  // What is shown and how opaque: the tools on top set every card, a card's own set that card.
  const show = (place, view) => { place.dataset.view = view; };
  const fade = (place, percent) => place.style.setProperty("--opacity", percent / 100);
  for (const radio of all("input[name=view]")) {
    radio.addEventListener("change", () => {
      for (const card of all(".card")) {
        show(card, radio.value);
        for (const own of all(".own input[type=radio]", card)) own.checked = own.value === radio.value;
      }
    });
  }
  const opacity = document.getElementById("opacity");
  opacity.addEventListener("input", () => {
    fade(root, opacity.value);
    for (const card of all(".card")) {
      card.style.removeProperty("--opacity");
      for (const own of all(".own input[type=range]", card)) own.value = opacity.value;
    }
  });
  for (const card of all(".card")) {
    for (const radio of all(".own input[type=radio]", card)) radio.addEventListener("change", () => show(card, radio.value));
    for (const range of all(".own input[type=range]", card)) range.addEventListener("input", () => fade(card, range.value));
  }

  for (const radio of all("input[name=family]")) {
    radio.addEventListener("change", () => {
      for (const part of all("[data-family]")) part.hidden = radio.value !== "*" && part.dataset.family !== radio.value;
    });
  }

  const theme = document.getElementById("theme");
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const label = () => { theme.textContent = dark() ? "Light theme" : "Dark theme"; };
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; label(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
  label();

  // Paper has nothing to click on: open what is folded, and fold it again afterwards.
  let folded = [];
  addEventListener("beforeprint", () => { folded = all("details:not([open])"); for (const d of folded) d.open = true; });
  addEventListener("afterprint", () => { for (const d of folded) d.open = false; });
})();
