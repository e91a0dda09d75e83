// Maps of several layers: the slider shows one of them, the box each on its own scale.
(() => {
  "use strict";
  document.documentElement.classList.add("layer-slider-on");
  document.addEventListener("input", (event) => {
    const slider = event.target.closest?.(".layer-slider");
    if (!slider) return;
    if (event.target.type === "checkbox") {
      slider.toggleAttribute("data-own", event.target.checked);
      return;
    }
    const maps = [...slider.querySelectorAll(".layer-map")], number = Number(event.target.value);
    maps.forEach((map, index) => map.toggleAttribute("data-current", index === number));
    event.target.setAttribute("aria-valuetext", maps[number].dataset.layer);
  });
})();
