// What pages do without the server: how a map is shown, and the value under the pointer.
(() => {
  "use strict";
  const root = document.documentElement;
  const stored = (name, fallback) => { try { return sessionStorage.getItem(name) ?? fallback; } catch { return fallback; } };
  const store = (name, value) => { try { sessionStorage.setItem(name, value); } catch { /* private window */ } };

  // The display (overlay, map or input) and the opacity of maps: one choice for the whole page.
  const show = (view) => { root.dataset.show = view; store("show", view); for (const radio of document.querySelectorAll("input[data-show-view]")) radio.checked = radio.value === view; };
  const fade = (percent) => { root.style.setProperty("--opacity", percent / 100); store("fade", percent); for (const range of document.querySelectorAll("input[data-fade]")) if (range.value !== percent) range.value = percent; };
  document.addEventListener("change", (event) => { if (event.target.matches?.("input[data-show-view]")) show(event.target.value); });
  document.addEventListener("input", (event) => { if (event.target.matches?.("input[data-fade]")) fade(event.target.value); });
  if (stored("show")) root.dataset.show = stored("show");
  if (stored("fade")) root.style.setProperty("--opacity", stored("fade") / 100);
  new MutationObserver(() => {
    for (const radio of document.querySelectorAll("input[data-show-view]:not([data-met])")) { radio.dataset.met = ""; radio.checked = radio.value === (root.dataset.show || "overlay"); }
    for (const input of document.querySelectorAll(".drop input[type=file]:not([aria-label])")) input.setAttribute("aria-label", input.parentElement.textContent);
    for (const range of document.querySelectorAll("input[data-fade]:not([data-met])")) { range.dataset.met = ""; if (stored("fade")) range.value = stored("fade"); }
  }).observe(root, { childList: true, subtree: true });

  // The value under the pointer, in this map and at the same position of the other maps of the gallery.
  const decoded = new WeakMap();
  const mapValues = (stack) => {
    let entry = decoded.get(stack);
    if (!entry || entry.source !== stack.dataset.map) {
      const bytes = Uint8Array.from(atob(stack.dataset.map), (letter) => letter.charCodeAt(0));
      entry = { source: stack.dataset.map, values: new Int16Array(bytes.buffer) };
      decoded.set(stack, entry);
    }
    return entry.values;
  };
  const superscript = (text) => text.replace(/[-0-9]/g, (sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]);
  const formatNumber = (value) => {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1000 && size < 100000) return value.toFixed(0).replace("-", "−");
    if (size >= 0.0001 && size < 1000) return String(Number(value.toPrecision(3))).replace("-", "−");
    const [digits, power] = value.toExponential(2).split("e");
    return `${String(Number(digits)).replace("-", "−")}·10${superscript(String(Number(power)))}`;
  };
  const linkedMaps = (stack) => { const gallery = stack.closest(".gallery"); return gallery ? gallery.querySelectorAll(".stack[data-map]") : [stack]; };
  const showValue = (stack, across, down) => {
    const rows = Number(stack.dataset.rows), columns = Number(stack.dataset.columns), peak = Number(stack.dataset.peak), limit = Number(stack.dataset.limit);
    const row = Math.min(rows - 1, Math.floor(down * rows)), column = Math.min(columns - 1, Math.floor(across * columns));
    const value = (mapValues(stack)[row * columns + column] / 32767) * peak;
    const figure = stack.closest("figure"), signed = figure.classList.contains("signed");
    const dot = stack.querySelector(".pointer"), needle = figure.querySelector(".needle"), label = figure.querySelector(".value");
    dot.hidden = needle.hidden = label.hidden = false;
    dot.style.left = `${100 * across}%`; dot.style.top = `${100 * down}%`;
    const share = limit ? Math.max(signed ? -1 : 0, Math.min(1, value / limit)) : 0;
    needle.style.left = `${signed ? 50 + 50 * share : 100 * share}%`;
    label.textContent = formatNumber(value);
    stack.dataset.across = across; stack.dataset.down = down;
  };
  const hideValues = (stack) => { for (const map of linkedMaps(stack)) for (const part of map.closest("figure").querySelectorAll(".pointer, .needle, .value")) part.hidden = true; };
  const showValues = (stack, across, down) => { for (const map of linkedMaps(stack)) showValue(map, across, down); };
  document.addEventListener("pointermove", (event) => {
    const stack = event.target.closest?.(".stack[data-map]");
    if (!stack) return;
    const box = stack.getBoundingClientRect();
    showValues(stack, Math.min(0.9999, Math.max(0, (event.clientX - box.left) / box.width)), Math.min(0.9999, Math.max(0, (event.clientY - box.top) / box.height)));
  });
  document.addEventListener("pointerout", (event) => {
    const stack = event.target.closest?.(".stack[data-map]");
    if (stack && !stack.contains(event.relatedTarget)) hideValues(stack);
  });
  document.addEventListener("keydown", (event) => {
    const stack = event.target.closest?.(".stack[data-map]");
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!stack || !step) return;
    event.preventDefault();
    const distance = event.shiftKey ? 0.1 : 0.02;
    const [across, down] = ["across", "down"].map((name, axis) => Math.min(0.9999, Math.max(0, Number(stack.dataset[name] ?? 0.5) + distance * step[axis])));
    showValues(stack, across, down);
  });

  // The language and the theme, stored in cookies.
  const setCookie = (name, value) => { document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=strict`; };
  document.addEventListener("change", (event) => {
    const name = event.target.dataset?.remembered;
    if (name) { setCookie(name, event.target.value); location.reload(); }
  });

  // The colour scheme of the system, stored in a cookie for the server, which draws pictures; if it was unknown, the page reloads.
  const settings = window.convscope, scheme = matchMedia("(prefers-color-scheme: dark)");
  const storeScheme = () => setCookie(settings.scheme, scheme.matches ? "dark" : "light");
  storeScheme();
  if (settings.system && scheme.matches !== settings.dark && document.cookie.includes(`${settings.scheme}=`)) addEventListener("load", () => location.reload());
  scheme.addEventListener("change", () => { storeScheme(); if (settings.system) location.reload(); });

  // For tests.
  settings.formatNumber = formatNumber;
  // The link carries the state of the page, and links to other pages the model and image. Changes by the user can be
  // undone with the browser's back button; what the page fills in by itself adds nothing to the history.
  let latest = -Infinity;
  settings.updateUrl = (link, shared, byUser) => {
    const changed = byUser && link !== location.pathname + location.search;
    const step = changed && performance.now() - latest > 700;  // changes in quick succession are one step
    history[step ? "pushState" : "replaceState"](null, "", link);
    if (changed) latest = performance.now();
    for (const other of document.querySelectorAll(".pages a, .brand")) other.search = shared;
  };
  addEventListener("popstate", () => location.reload());
  root.lang = settings.lang;
  addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("#popup span").forEach((line, index) => { line.textContent = settings.lost[index]; });
    document.getElementById("popup")?.setAttribute("role", "alert");
  });

  // A picture from the camera, if there is one, is uploaded like any other file.
  const camera = async (button) => {
    const dialog = Object.assign(document.createElement("dialog"), { className: "camera" });
    const video = Object.assign(document.createElement("video"), { autoplay: true, muted: true, playsInline: true });
    const [take, close] = settings.camera.map((text, index) => Object.assign(document.createElement("button"), { type: "button", className: index ? "button" : "button main", textContent: text }));
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
    catch { video.replaceWith(Object.assign(document.createElement("p"), { className: "warning", textContent: settings.camera[2] })); take.disabled = true; }
  };
  document.addEventListener("click", (event) => { const button = event.target.closest?.("[data-camera]"); if (button) camera(button); });
  if (navigator.mediaDevices?.getUserMedia) root.classList.add("has-camera");
})();
