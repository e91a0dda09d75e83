// What pages do by themselves, without asking the server: how a map is shown, and the number under the pointer.
(() => {
  "use strict";
  const root = document.documentElement;
  const kept = (name, otherwise) => { try { return sessionStorage.getItem(name) ?? otherwise; } catch { return otherwise; } };
  const keep = (name, value) => { try { sessionStorage.setItem(name, value); } catch { /* private window */ } };

  // Map over input, map, or input; and how opaque: chosen once for the page.
  const show = (view) => { root.dataset.show = view; keep("show", view); for (const radio of document.querySelectorAll("input[data-show-view]")) radio.checked = radio.value === view; };
  const fade = (percent) => { root.style.setProperty("--opacity", percent / 100); keep("fade", percent); for (const range of document.querySelectorAll("input[data-fade]")) if (range.value !== percent) range.value = percent; };
  document.addEventListener("change", (event) => { if (event.target.matches?.("input[data-show-view]")) show(event.target.value); });
  document.addEventListener("input", (event) => { if (event.target.matches?.("input[data-fade]")) fade(event.target.value); });
  if (kept("show")) root.dataset.show = kept("show");
  if (kept("fade")) root.style.setProperty("--opacity", kept("fade") / 100);
  new MutationObserver(() => {
    for (const radio of document.querySelectorAll("input[data-show-view]:not([data-met])")) { radio.dataset.met = ""; radio.checked = radio.value === (root.dataset.show || "overlay"); }
    for (const input of document.querySelectorAll(".drop input[type=file]:not([aria-label])")) input.setAttribute("aria-label", input.parentElement.textContent);
    for (const range of document.querySelectorAll("input[data-fade]:not([data-met])")) { range.dataset.met = ""; if (kept("fade")) range.value = kept("fade"); }
  }).observe(root, { childList: true, subtree: true });

  // The number under the pointer, in this map and at the same place of those beside it.
  const numbers = new WeakMap();
  const read = (stack) => {
    let known = numbers.get(stack);
    if (!known || known.from !== stack.dataset.map) {
      const bytes = Uint8Array.from(atob(stack.dataset.map), (letter) => letter.charCodeAt(0));
      known = { from: stack.dataset.map, steps: new Int16Array(bytes.buffer) };
      numbers.set(stack, known);
    }
    return known.steps;
  };
  const powers = (text) => text.replace(/[-0-9]/g, (sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]);
  const written = (value) => {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1000 && size < 100000) return value.toFixed(0).replace("-", "−");
    if (size >= 0.0001 && size < 1000) return String(Number(value.toPrecision(3))).replace("-", "−");
    const [digits, power] = value.toExponential(2).split("e");
    return `${String(Number(digits)).replace("-", "−")}·10${powers(String(Number(power)))}`;
  };
  const together = (stack) => { const gallery = stack.closest(".gallery"); return gallery ? gallery.querySelectorAll(".stack[data-map]") : [stack]; };
  const point = (stack, across, down) => {
    const rows = Number(stack.dataset.rows), columns = Number(stack.dataset.columns), peak = Number(stack.dataset.peak), limit = Number(stack.dataset.limit);
    const row = Math.min(rows - 1, Math.floor(down * rows)), column = Math.min(columns - 1, Math.floor(across * columns));
    const value = (read(stack)[row * columns + column] / 32767) * peak;
    const figure = stack.closest("figure"), signed = figure.classList.contains("signed");
    const dot = stack.querySelector(".pointer"), needle = figure.querySelector(".needle"), said = figure.querySelector(".value");
    dot.hidden = needle.hidden = said.hidden = false;
    dot.style.left = `${100 * across}%`; dot.style.top = `${100 * down}%`;
    const share = limit ? Math.max(signed ? -1 : 0, Math.min(1, value / limit)) : 0;
    needle.style.left = `${signed ? 50 + 50 * share : 100 * share}%`;
    said.textContent = written(value);
    stack.dataset.across = across; stack.dataset.down = down;
  };
  const away = (stack) => { for (const one of together(stack)) for (const part of one.closest("figure").querySelectorAll(".pointer, .needle, .value")) part.hidden = true; };
  const everywhere = (stack, across, down) => { for (const one of together(stack)) point(one, across, down); };
  document.addEventListener("pointermove", (event) => {
    const stack = event.target.closest?.(".stack[data-map]");
    if (!stack) return;
    const box = stack.getBoundingClientRect();
    everywhere(stack, Math.min(0.9999, Math.max(0, (event.clientX - box.left) / box.width)), Math.min(0.9999, Math.max(0, (event.clientY - box.top) / box.height)));
  });
  document.addEventListener("pointerout", (event) => {
    const stack = event.target.closest?.(".stack[data-map]");
    if (stack && !stack.contains(event.relatedTarget)) away(stack);
  });
  document.addEventListener("keydown", (event) => {
    const stack = event.target.closest?.(".stack[data-map]");
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!stack || !step) return;
    event.preventDefault();
    const far = event.shiftKey ? 0.1 : 0.02;
    const [across, down] = ["across", "down"].map((name, axis) => Math.min(0.9999, Math.max(0, Number(stack.dataset[name] ?? 0.5) + far * step[axis])));
    everywhere(stack, across, down);
  });

  // The language and the theme, remembered by the browser.
  const remember = (name, value) => { document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=strict`; };
  document.addEventListener("change", (event) => {
    const name = event.target.dataset?.remembered;
    if (name) { remember(name, event.target.value); location.reload(); }
  });

  // Whether the system is dark, told to the server, which draws pictures; the first time the page asks for itself again.
  const told = window.convscope, scheme = matchMedia("(prefers-color-scheme: dark)");
  const tell = () => remember(told.scheme, scheme.matches ? "dark" : "light");
  tell();
  if (told.system && scheme.matches !== told.dark && document.cookie.includes(`${told.scheme}=`)) addEventListener("load", () => location.reload());
  scheme.addEventListener("change", () => { tell(); if (told.system) location.reload(); });

  // The link carries what is looked at; other pages are told of it too.
  told.written = written;
  // What a person changes can be taken back with the browser's own button; what the page fills in by itself cannot.
  let latest = -Infinity;
  told.remember = (link, carried, chosen) => {
    const changed = chosen && link !== location.pathname + location.search;
    const step = changed && performance.now() - latest > 700;  // keys held down are one step
    history[step ? "pushState" : "replaceState"](null, "", link);
    if (changed) latest = performance.now();
    for (const other of document.querySelectorAll(".pages a, .brand")) other.search = carried;
  };
  addEventListener("popstate", () => location.reload());
  root.lang = told.lang;
  addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("#popup span").forEach((line, place) => { line.textContent = told.lost[place]; });
    document.getElementById("popup")?.setAttribute("role", "alert");
  });

  // A picture from the camera, where the browser has one, goes the way of every other file.
  const camera = async (button) => {
    const dialog = Object.assign(document.createElement("dialog"), { className: "camera" });
    const video = Object.assign(document.createElement("video"), { autoplay: true, muted: true, playsInline: true });
    const [take, close] = told.camera.map((text, place) => Object.assign(document.createElement("button"), { type: "button", className: place ? "button" : "button main", textContent: text }));
    const line = document.createElement("div");
    line.className = "row-of"; line.append(take, close); dialog.append(video, line); document.body.append(dialog);
    let stream;
    dialog.addEventListener("close", () => { stream?.getTracks().forEach((track) => track.stop()); dialog.remove(); button.focus(); });
    close.addEventListener("click", () => dialog.close());
    take.addEventListener("click", () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d").drawImage(video, 0, 0);
      canvas.toBlob((blob) => {
        const files = new DataTransfer(), input = document.querySelector(".drop input[type=file]");
        files.items.add(new File([blob], "camera.jpg", { type: "image/jpeg" }));
        input.files = files.files;
        input.dispatchEvent(new Event("change", { bubbles: true }));
        dialog.close();
      }, "image/jpeg", 0.92);
    });
    dialog.showModal();
    try { stream = await navigator.mediaDevices.getUserMedia({ video: true }); video.srcObject = stream; }
    catch { video.replaceWith(Object.assign(document.createElement("p"), { className: "warning", textContent: told.camera[2] })); take.disabled = true; }
  };
  document.addEventListener("click", (event) => { const button = event.target.closest?.("[data-camera]"); if (button) camera(button); });
  if (navigator.mediaDevices?.getUserMedia) root.classList.add("has-camera");
})();
