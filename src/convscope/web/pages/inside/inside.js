// The graph is scrolled by dragging, and zoomed by buttons or Ctrl and the mouse wheel; the server does the rest.
(() => {
  const scrollArea = (element) => element && element.closest && element.closest('.graph-scroll');
  let drag = null;
  let moved = false;
  const zoom = (scroll, factor) => {
    const now = parseFloat(getComputedStyle(scroll).getPropertyValue('--zoom')) || 1;
    const next = Math.min(2.5, Math.max(0.3, now * factor));
    const middle = [scroll.scrollLeft + scroll.clientWidth / 2, scroll.scrollTop + scroll.clientHeight / 2];
    scroll.style.setProperty('--zoom', next);
    scroll.scrollLeft = middle[0] * next / now - scroll.clientWidth / 2;
    scroll.scrollTop = middle[1] * next / now - scroll.clientHeight / 2;
  };
  const fit = (scroll) => {
    const svg = scroll.querySelector('svg.graph');
    if (!svg || scroll.dataset.own) return;
    scroll.style.setProperty('--zoom', Math.max(0.72, Math.min(1, (scroll.clientWidth - 4) / svg.viewBox.baseVal.width)));
  };
  const measureTop = () => document.querySelectorAll('.inside').forEach((page) => {
    page.style.setProperty('--top', `${page.getBoundingClientRect().top + window.scrollY}px`);
  });
  new ResizeObserver(measureTop).observe(document.body);
  window.convscopeZoom = (factor) => document.querySelectorAll('.graph-scroll').forEach((scroll) => {
    if (factor) { scroll.dataset.own = 'yes'; zoom(scroll, factor); return; }
    delete scroll.dataset.own;
    fit(scroll);
  });
  window.convscopeReveal = (selector) => {
    const target = document.querySelector(selector);
    if (target && window.innerWidth <= 760) target.scrollIntoView({block: 'start'});
  };
  window.convscopeShow = (selector, focus) => {
    const target = document.querySelector(selector);
    if (!target) return;
    const scroll = scrollArea(target);
    if (scroll) {
      fit(scroll);
      const [inner, outer] = [target.getBoundingClientRect(), scroll.getBoundingClientRect()];
      if (inner.top < outer.top || inner.bottom > outer.bottom) {
        scroll.scrollTop += inner.top - outer.top - (outer.height - inner.height) / 2;
      }
      if (inner.left < outer.left || inner.right > outer.right) {
        scroll.scrollLeft += inner.left - outer.left - (outer.width - inner.width) / 2;
      }
    }
    if (focus) target.focus({preventScroll: true});
  };
  document.addEventListener('wheel', (event) => {
    const scroll = scrollArea(event.target);
    if (scroll && event.ctrlKey) { event.preventDefault(); scroll.dataset.own = 'yes'; zoom(scroll, event.deltaY < 0 ? 1.15 : 1 / 1.15); }
  }, {passive: false});
  document.addEventListener('pointerdown', (event) => {
    const scroll = scrollArea(event.target);
    if (!scroll || event.pointerType === 'touch') return;
    drag = {scroll, x: event.clientX, y: event.clientY, left: scroll.scrollLeft, top: scroll.scrollTop};
    moved = false;
  });
  document.addEventListener('pointermove', (event) => {
    if (!drag) return;
    const [x, y] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!moved && Math.hypot(x, y) < 5) return;
    moved = true;
    drag.scroll.classList.add('held');
    drag.scroll.scrollLeft = drag.left - x;
    drag.scroll.scrollTop = drag.top - y;
  });
  document.addEventListener('pointerup', () => {
    if (drag) drag.scroll.classList.remove('held');
    drag = null;
  });
  document.addEventListener('click', (event) => {
    if (moved && scrollArea(event.target)) { event.stopPropagation(); event.preventDefault(); moved = false; }
  }, true);
})();
