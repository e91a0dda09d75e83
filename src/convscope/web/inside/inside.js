// The graph is moved by dragging and made larger by buttons or Ctrl and the wheel; the rest happens on the server.
(() => {
  const box = (element) => element && element.closest && element.closest('.graph-scroll');
  let held = null;
  let moved = false;
  const zoomed = (scroll, factor) => {
    const now = parseFloat(getComputedStyle(scroll).getPropertyValue('--zoom')) || 1;
    const next = Math.min(2.5, Math.max(0.3, now * factor));
    const middle = [scroll.scrollLeft + scroll.clientWidth / 2, scroll.scrollTop + scroll.clientHeight / 2];
    scroll.style.setProperty('--zoom', next);
    scroll.scrollLeft = middle[0] * next / now - scroll.clientWidth / 2;
    scroll.scrollTop = middle[1] * next / now - scroll.clientHeight / 2;
  };
  const placed = () => document.querySelectorAll('.inside').forEach((one) => {
    one.style.setProperty('--top', `${one.getBoundingClientRect().top + window.scrollY}px`);
  });
  new ResizeObserver(placed).observe(document.body);
  window.convscopeZoom = (factor) => document.querySelectorAll('.graph-scroll').forEach((one) => {
    if (factor) { zoomed(one, factor); return; }
    const svg = one.querySelector('svg.graph');
    one.style.setProperty('--zoom', Math.min(1, (one.clientWidth - 8) / svg.viewBox.baseVal.width));
  });
  window.convscopeShow = (selector, focus) => {
    const found = document.querySelector(selector);
    if (!found) return;
    const scroll = box(found);
    if (scroll) {
      const [inner, outer] = [found.getBoundingClientRect(), scroll.getBoundingClientRect()];
      if (inner.top < outer.top || inner.bottom > outer.bottom) {
        scroll.scrollTop += inner.top - outer.top - (outer.height - inner.height) / 2;
      }
      if (inner.left < outer.left || inner.right > outer.right) {
        scroll.scrollLeft += inner.left - outer.left - (outer.width - inner.width) / 2;
      }
    }
    if (focus) found.focus({preventScroll: true});
  };
  document.addEventListener('wheel', (event) => {
    const scroll = box(event.target);
    if (scroll && event.ctrlKey) { event.preventDefault(); zoomed(scroll, event.deltaY < 0 ? 1.15 : 1 / 1.15); }
  }, {passive: false});
  document.addEventListener('pointerdown', (event) => {
    const scroll = box(event.target);
    if (!scroll || event.pointerType === 'touch') return;
    held = {scroll, x: event.clientX, y: event.clientY, left: scroll.scrollLeft, top: scroll.scrollTop};
    moved = false;
  });
  document.addEventListener('pointermove', (event) => {
    if (!held) return;
    const [x, y] = [event.clientX - held.x, event.clientY - held.y];
    if (!moved && Math.hypot(x, y) < 5) return;
    moved = true;
    held.scroll.classList.add('held');
    held.scroll.scrollLeft = held.left - x;
    held.scroll.scrollTop = held.top - y;
  });
  document.addEventListener('pointerup', () => {
    if (held) held.scroll.classList.remove('held');
    held = null;
  });
  document.addEventListener('click', (event) => {
    if (moved && box(event.target)) { event.stopPropagation(); event.preventDefault(); moved = false; }
  }, true);
})();
