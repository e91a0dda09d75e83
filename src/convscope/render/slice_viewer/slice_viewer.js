// Opens the viewer of a map over a volume when its button is pressed. NiiVue is taken from the page (#niivue) or from
// the server (data-niivue of the script), and unpacked once.
(() => {
  "use strict";
  const source = document.currentScript?.dataset.niivue;
  let library;
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const unpacked = (packed) => new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip")));
  const code = async () => {
    const embedded = document.getElementById("niivue");
    if (embedded) return unpacked(bytes(embedded.textContent.trim())).text();
    return (await fetch(source)).text();
  };
  const load = () => library ??= code().then((text) => {
    const script = document.createElement("script");
    script.textContent = text;
    document.head.append(script);
    return window.niivue;
  });
  const hasWebGL = () => Boolean(document.createElement("canvas").getContext("webgl2"));

  const open = async (box) => {
    if (!hasWebGL()) {
      box.querySelector("button").hidden = true;
      box.querySelector("p").hidden = false;
      return;
    }
    const settings = JSON.parse(box.dataset.settings), { Niivue } = await load();
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    box.replaceChildren(canvas);
    box.classList.add("open");
    const viewer = new Niivue({
      backColor: [0, 0, 0, 1], isColorbar: true, isRadiologicalConvention: settings.radiological,
      dragAndDropEnabled: false, logLevel: "silent", show3Dcrosshair: true, multiplanarShowRender: 1,
      crosshairColor: [0.25, 0.85, 0.35, 1], crosshairWidth: 0.25,
    });
    await viewer.attachToCanvas(canvas);
    viewer.addColormap("convscope-positive", settings.positive);
    if (settings.negative) viewer.addColormap("convscope-negative", settings.negative);
    for (const name of ["scan", "map"]) {
      if (box.dataset[name]) {
        await viewer.loadFromArrayBuffer(await unpacked(bytes(box.dataset[name])).arrayBuffer(), `${name}.nii`);
      }
    }
    const map = viewer.volumes.at(-1);
    map.colormap = "convscope-positive";
    [map.cal_min, map.cal_max] = [settings.floor, settings.limit];
    if (settings.negative) {
      map.colormapNegative = "convscope-negative";
      [map.cal_minNeg, map.cal_maxNeg] = [-settings.floor, -settings.limit];
    }
    if (viewer.volumes.length > 1) viewer.volumes[0].colorbarVisible = false;
    viewer.setOpacity(viewer.volumes.length - 1, settings.opacity);
    viewer.updateGLVolume();
    viewer.scene.crosshairPos = viewer.mm2frac(settings.place);
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
    viewer.drawScene();
    box.dataset.volumes = viewer.volumes.length;  // the viewer is ready
  };
  document.addEventListener("click", (event) => {
    const box = event.target.closest?.("[data-open-slices]")?.closest(".slice-viewer");
    if (box) open(box);
  });
})();
