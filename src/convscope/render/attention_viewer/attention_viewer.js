// Attention weights of all layers and heads: a click enlarges a head, the patch under the pointer is the token whose
// weights are shown. Layers without a matrix keep the pictures that they came with.
(() => {
  "use strict";
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const states = new WeakMap();
  const stateOf = (viewer) => {
    let state = states.get(viewer);
    if (!state) {
      state = JSON.parse(viewer.dataset.state);
      state.colours = bytes(viewer.dataset.colours);
      state.inks = bytes(viewer.dataset.inks);
      state.initial = { place: state.place, direction: state.direction };
      state.kept = state.place;
      for (const layer of state.layers) if (layer.matrix) layer.levels = new Uint16Array(bytes(layer.matrix).buffer);
      states.set(viewer, state);
    }
    return state;
  };
  const formatNumber = (value) => (value === 0 ? "0" : String(Number(value.toPrecision(3))).replace("-", "−"));

  // The number of the token at a place, given as shares of the axes; null for the mean over all tokens.
  const tokenAt = (layer, place) => {
    const cells = layer.grid[0] * layer.grid[1], unplaced = layer.tokens - cells;
    if (!place.length) return layer.answer;
    const [down, across] = place.length === 1 ? [0, place[0]] : place;
    const row = Math.min(layer.grid[0] - 1, Math.floor(down * layer.grid[0]));
    const column = Math.min(layer.grid[1] - 1, Math.floor(across * layer.grid[1]));
    return unplaced + row * layer.grid[1] + column;
  };
  // The weights of one head from or to the token at a place, on the grid.
  const weightsOf = (layer, head, place, direction) => {
    const n = layer.tokens, cells = layer.grid[0] * layer.grid[1], unplaced = n - cells, token = tokenAt(layer, place);
    const start = head * n * n, weights = new Float32Array(cells), unit = layer.peak / 65535;
    const at = (own, other) => layer.levels[start + (direction === "from" ? own * n + other : other * n + own)] * unit;
    for (let cell = 0; cell < cells; cell += 1) {
      if (token !== null) weights[cell] = at(token, unplaced + cell);
      else for (let own = 0; own < n; own += 1) weights[cell] += at(own, unplaced + cell) / n;
    }
    return weights;
  };
  // The end of the scale: the 99.5th percentile, of few numbers the largest.
  const limitOf = (maps) => {
    const all = Float32Array.from(maps.flatMap((weights) => [...weights])).sort();
    const peak = all[all.length - 1] ?? 0;
    if (all.length <= 2000) return peak;
    const position = 0.995 * (all.length - 1), low = Math.floor(position);
    return all[low] + (position - low) * ((all[low + 1] ?? all[low]) - all[low]) || peak;
  };
  const canvas = document.createElement("canvas");
  const pictureOf = (weights, grid, limit, colours, channels) => {
    [canvas.height, canvas.width] = grid;
    const context = canvas.getContext("2d"), image = context.createImageData(grid[1], grid[0]);
    weights.forEach((weight, cell) => {
      const index = Math.round(255 * Math.min(1, weight / (limit || 1)));
      for (let channel = 0; channel < 4; channel += 1) {
        image.data[4 * cell + channel] = channel < channels ? colours[channels * index + channel] : 255;
      }
    });
    context.putImageData(image, 0, 0);
    return canvas.toDataURL();
  };

  const caption = (state) => {
    const layer = state.layers[state.layer], shown = layer.levels ? state : { ...state, ...state.initial };
    const cell = shown.place.map((share, axis) => Math.floor(share * state.grid[state.grid.length - shown.place.length + axis]));
    const token = shown.place.length ? state.words.patch.replace("{place}", cell.join("x")) : state.words[state.token];
    const head = state.fused || state.head;
    return state.words[shown.direction].replace("{layer}", layer.name).replace("{head}", head).replace("{token}", token);
  };
  const mark = (viewer, state) => {
    const frame = viewer.querySelector(".attention-patch");
    frame.hidden = !state.place.length;
    if (frame.hidden) return;
    const [down, across] = state.place.length === 1 ? [0, state.place[0]] : state.place;
    const [rows, columns] = state.grid;
    const style = { top: Math.floor(down * rows) / rows, left: Math.floor(across * columns) / columns, height: 1 / rows, width: 1 / columns };
    for (const [name, share] of Object.entries(style)) frame.style[name] = `${100 * share}%`;
  };
  const isInitial = (state) => state.direction === state.initial.direction && String(state.place) === String(state.initial.place);

  const draw = (viewer, state) => {
    const live = state.layers.map((layer, number) => [layer, number]).filter(([layer]) => layer.levels);
    const maps = live.map(([layer]) => Array.from({ length: layer.heads }, (_, head) => weightsOf(layer, head, state.place, state.direction)));
    const rows = viewer.querySelectorAll(".attention-layer");
    if (live.length) {
      const limit = limitOf(maps.flat());
      live.forEach(([layer, number], index) => maps[index].forEach((weights, head) => {
        rows[number].querySelector(`[data-head="${head}"] img`).src = pictureOf(weights, layer.grid, limit, state.colours, 3);
        if (number === state.layer && head === state.head) {
          viewer.querySelector(".attention-heat").src = pictureOf(weights, layer.grid, limit, state.inks, 4);
        }
      }));
      viewer.querySelector(".attention-scale b").textContent = formatNumber(limit);
    }
    const old = !isInitial(state) && live.length < state.layers.length;
    state.layers.forEach((layer, number) => rows[number].classList.toggle("attention-old", old && !layer.levels));
    viewer.querySelector(".attention-other").hidden = !old;
    if (!state.layers[state.layer].levels) enlargeTile(viewer, state);
    viewer.querySelector(".attention-caption").textContent = viewer.querySelector(".attention-heat").alt = caption(state);
    mark(viewer, state);
  };
  // The enlarged picture of a layer without a matrix is its tile: opaque, over no photograph.
  const enlargeTile = (viewer, state) => {
    const tile = viewer.querySelector(`[data-layer="${state.layer}"][data-head="${state.head}"] img`);
    viewer.querySelector(".attention-heat").src = tile.src;
  };
  const tell = (viewer, state) => {
    const cell = state.place.map((share, axis) => Math.floor(share * state.grid[state.grid.length - state.place.length + axis]));
    const detail = { layer: state.layers[state.layer].name, head: state.head, patch: cell.join("x"), direction: state.direction };
    viewer.dispatchEvent(new CustomEvent("attention", { bubbles: true, detail }));
  };

  // Enlarge a head; a layer that has fewer shows its last.
  const enlarge = (viewer, state, layer, head) => {
    [state.layer, state.head] = [layer, Math.min(head, state.layers[layer].heads - 1)];
    viewer.querySelectorAll(".attention-layer button").forEach((tile) => tile.setAttribute("aria-pressed",
      Number(tile.dataset.layer) === state.layer && Number(tile.dataset.head) === state.head));
    const slider = viewer.querySelector(".attention-through input");
    if (slider) {
      slider.value = layer;
      slider.setAttribute("aria-valuetext", state.layers[layer].name);
    }
    draw(viewer, state);
  };

  const placeOf = (photo, state, event) => {
    const box = photo.getBoundingClientRect();
    const shares = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
    return shares.slice(2 - state.axes).map((share, axis) => {
      const count = state.grid[2 - state.axes + axis];
      return (Math.min(count - 1, Math.max(0, Math.floor(share * count))) + 0.5) / count;
    });
  };
  const show = (viewer, state, place) => {
    if (String(place) === String(state.place)) return;
    state.place = place;
    draw(viewer, state);
  };
  const photoOf = (event) => {
    const photo = event.target.closest?.(".attention-photo"), viewer = photo?.closest(".attention-viewer");
    if (!viewer) return null;
    const state = stateOf(viewer);
    return state.axes < 3 ? { photo, viewer, state, hovers: state.layers.some((layer) => layer.levels) } : null;
  };
  document.addEventListener("pointermove", (event) => {
    const on = photoOf(event);
    if (on?.hovers) show(on.viewer, on.state, placeOf(on.photo, on.state, event));
  });
  document.addEventListener("pointerout", (event) => {
    const on = photoOf(event);
    if (on?.hovers && !on.photo.contains(event.relatedTarget)) show(on.viewer, on.state, on.state.kept);
  });
  document.addEventListener("click", (event) => {
    const on = photoOf(event);
    if (on?.hovers) {
      on.state.kept = placeOf(on.photo, on.state, event);
      show(on.viewer, on.state, on.state.kept);
      tell(on.viewer, on.state);
      return;
    }
    const choice = event.target.closest?.(".attention-directions button");
    if (choice) {
      const owner = choice.closest(".attention-viewer"), own = stateOf(owner);
      choice.parentElement.querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", other === choice));
      own.direction = choice.dataset.direction;
      draw(owner, own);
      tell(owner, own);
      return;
    }
    const tile = event.target.closest?.(".attention-layer button"), viewer = tile?.closest(".attention-viewer");
    if (!viewer) return;
    enlarge(viewer, stateOf(viewer), Number(tile.dataset.layer), Number(tile.dataset.head));
    tell(viewer, stateOf(viewer));
  });
  document.addEventListener("input", (event) => {
    const viewer = event.target.closest?.(".attention-through")?.closest(".attention-viewer");
    if (viewer) enlarge(viewer, stateOf(viewer), Number(event.target.value), stateOf(viewer).head);
  });
  document.addEventListener("keydown", (event) => {
    const on = photoOf(event);
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!on?.hovers || !(step || event.key === "Escape")) return;
    event.preventDefault();
    const { state } = on, counts = state.grid.slice(2 - state.axes);
    const from = state.place.length ? state.place : counts.map(() => 0.5);
    state.kept = !step ? state.initial.place : counts.map((count, axis) => {
      const cell = Math.floor(from[axis] * count) + step[2 - state.axes + axis];
      return (Math.min(count - 1, Math.max(0, cell)) + 0.5) / count;
    });
    show(on.viewer, state, state.kept);
    tell(on.viewer, state);
  });
})();
