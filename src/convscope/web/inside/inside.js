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
  const fitted = (scroll) => {
    const svg = scroll.querySelector('svg.graph');
    if (!svg || scroll.dataset.own) return;
    scroll.style.setProperty('--zoom', Math.max(0.72, Math.min(1, (scroll.clientWidth - 4) / svg.viewBox.baseVal.width)));
  };
  const placed = () => document.querySelectorAll('.inside').forEach((one) => {
    one.style.setProperty('--top', `${one.getBoundingClientRect().top + window.scrollY}px`);
  });
  new ResizeObserver(placed).observe(document.body);
  window.convscopeZoom = (factor) => document.querySelectorAll('.graph-scroll').forEach((one) => {
    if (factor) { one.dataset.own = 'yes'; zoomed(one, factor); return; }
    delete one.dataset.own;
    fitted(one);
  });
  window.convscopeReveal = (selector) => {
    const found = document.querySelector(selector);
    if (found && window.innerWidth <= 760) found.scrollIntoView({block: 'start'});
  };
  window.convscopeShow = (selector, focus) => {
    const found = document.querySelector(selector);
    if (!found) return;
    const scroll = box(found);
    if (scroll) {
      fitted(scroll);
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
    if (scroll && event.ctrlKey) { event.preventDefault(); scroll.dataset.own = 'yes'; zoomed(scroll, event.deltaY < 0 ? 1.15 : 1 / 1.15); }
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
