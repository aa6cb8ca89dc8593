/** Pointer, wheel, keys, buttons and filters, and the loop that paints when something changed. */

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
function element(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no element ${id}`);
  return found;
}

/**
 * @param {string} id
 * @returns {HTMLCanvasElement}
 */
function canvasOf(id) {
  const found = element(id);
  if (!(found instanceof HTMLCanvasElement)) throw new Error(`${id} is no canvas`);
  return found;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @returns {CanvasRenderingContext2D}
 */
function contextOf(canvas) {
  const context = canvas.getContext('2d');
  if (context === null) throw new Error('this browser has no canvas');
  return context;
}

const run = readRun();
const view = createView(run);
const lower = canvasOf('picture');
const upper = canvasOf('cursor');
const tip = element('tip');
const announced = element('announced');
let palette = readPalette();
let isPaintDue = false;
let isViewChanged = true;

/** @param {boolean} hasViewChanged */
function requestPaint(hasViewChanged) {
  isViewChanged ||= hasViewChanged;
  if (isPaintDue) return;
  isPaintDue = true;
  requestAnimationFrame(() => {
    isPaintDue = false;
    if (isViewChanged) paintNow();
    paintCursor({ context: contextOf(upper), run, view, palette });
  });
}

function paintNow() {
  isViewChanged = false;
  const { inView, drawn } = paint({ context: contextOf(lower), run, view, palette });
  const share = drawn < inView ? `, drawn as ${drawn} lines: zoom in for each` : '';
  element('drawn').textContent = `${inView.toLocaleString('en')} messages in view${share}`;
}

function fitToWindow() {
  const width = element('stage').clientWidth;
  const offset = element('stage').getBoundingClientRect().top + window.scrollY;
  layOut(run, view, { width, height: Math.max(360, window.innerHeight - offset - 28) });
  for (const canvas of [lower, upper]) {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(view.width * ratio);
    canvas.height = Math.round(view.height * ratio);
    canvas.style.width = `${view.width}px`;
    canvas.style.height = `${view.height}px`;
    contextOf(canvas).setTransform(ratio, 0, 0, ratio, 0, 0);
  }
  element('stage').style.height = `${view.height}px`;
  // A canvas is empty once its size is set: it is painted at once, so that none is seen empty.
  paintNow();
  requestPaint(false);
}

/** @param {{ readonly factor: number, readonly around?: number }} zoom */
function zoom({ factor, around = view.cursor ?? (view.from + view.to) / 2 }) {
  const isInView = around >= view.from && around <= view.to;
  const middle = (view.from + view.to) / 2;
  zoomBy(run, view, { factor, around: isInView ? around : middle });
  requestPaint(true);
}

/** @param {number} share Of what is in view. */
function panBy(share) {
  const ticks = (view.to - view.from) * share;
  showSpan(run, view, { from: view.from + ticks, to: view.to + ticks });
  requestPaint(true);
}

function showWholeRun() {
  showSpan(run, view, { from: 0, to: run.picture.endTicks * 1.005 });
  requestPaint(true);
}

/**
 * Puts the cursor somewhere and says what is there.
 * @param {number} ticks
 */
function moveCursor(ticks) {
  view.cursor = Math.min(Math.max(0, ticks), run.picture.endTicks);
  if (view.cursor < view.from || view.cursor > view.to) {
    const half = (view.to - view.from) / 2;
    showSpan(run, view, { from: view.cursor - half, to: view.cursor + half });
    requestPaint(true);
  }
  announced.textContent = describeInstant(run, view.cursor);
  requestPaint(false);
}

/** @param {1 | -1} direction */
function goToFault(direction) {
  const now = view.cursor ?? (direction > 0 ? -1 : run.picture.endTicks + 1);
  const next =
    direction > 0
      ? run.faults.find(({ start }) => start > now + 0.5)
      : run.faults.findLast(({ start }) => start < now - 0.5);
  if (next === undefined) return;
  const span = Math.min(view.to - view.from, 2_000 * run.picture.ticksPerMs);
  showSpan(run, view, { from: next.start - span * 0.2, to: next.start + span * 0.8 });
  requestPaint(true);
  moveCursor(next.start);
  announced.textContent = `${describeFaultSpan(run, run.faults.indexOf(next)).join(', ')}. ${announced.textContent}`;
}

function goToViolation() {
  if (run.picture.violation === null) return;
  const { endTicks, ticksPerMs } = run.picture;
  showSpan(run, view, { from: endTicks - 200 * ticksPerMs, to: endTicks + 4 * ticksPerMs });
  requestPaint(true);
  moveCursor(endTicks);
}

/** @type {Readonly<Record<string, (event: KeyboardEvent) => void>>} */
const keys = {
  ArrowLeft: (event) => (event.shiftKey ? stepCursor(-8) : panBy(-0.1)),
  ArrowRight: (event) => (event.shiftKey ? stepCursor(8) : panBy(0.1)),
  PageUp: () => panBy(-0.9),
  PageDown: () => panBy(0.9),
  '+': () => zoom({ factor: 0.7 }),
  '=': () => zoom({ factor: 0.7 }),
  '-': () => zoom({ factor: 1 / 0.7 }),
  0: showWholeRun,
  Home: () => moveCursor(0),
  End: () => moveCursor(run.picture.endTicks),
  '[': () => goToFault(-1),
  ']': () => goToFault(1),
  v: goToViolation,
};

/** @param {number} pixels */
function stepCursor(pixels) {
  const ticks = (pixels * (view.to - view.from)) / (view.width - view.lead);
  moveCursor((view.cursor ?? (view.from + view.to) / 2) + ticks);
}

/** @param {MouseEvent} event */
function pointOf(event) {
  const box = upper.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

/** @param {PointerEvent} event */
function hover(event) {
  const point = pointOf(event);
  view.cursor = point.x < view.lead ? undefined : ticksAt(view, point.x);
  view.hit = hitAt(run, view, point);
  tip.hidden = view.hit === undefined;
  if (view.hit !== undefined) {
    const [first = '', ...lines] = describeHit(run, view.hit);
    const head = document.createElement('strong');
    head.textContent = first;
    tip.replaceChildren(head, document.createTextNode(`\n${lines.join('\n')}`));
    const box = element('stage').getBoundingClientRect();
    const isLeft = point.x + tip.offsetWidth + 24 > view.width;
    tip.style.left = `${isLeft ? point.x - tip.offsetWidth - 14 : point.x + 14}px`;
    const lowest = Math.max(0, window.innerHeight - box.top - tip.offsetHeight - 8);
    tip.style.top = `${Math.min(point.y + 14, lowest)}px`;
  }
  requestPaint(false);
}

function listenToPointer() {
  /** @type {{ x: number, from: number, to: number } | undefined} */
  let drag;
  upper.addEventListener('pointerdown', (event) => {
    drag = { x: pointOf(event).x, from: view.from, to: view.to };
    upper.setPointerCapture(event.pointerId);
  });
  upper.addEventListener('pointermove', (event) => {
    if (drag !== undefined) {
      const pixels = pointOf(event).x - drag.x;
      const ticks = (pixels * (drag.to - drag.from)) / (view.width - view.lead);
      showSpan(run, view, { from: drag.from - ticks, to: drag.to - ticks });
      requestPaint(true);
    }
    hover(event);
  });
  const endDrag = () => {
    drag = undefined;
  };
  upper.addEventListener('pointerup', endDrag);
  upper.addEventListener('pointercancel', endDrag);
  upper.addEventListener('pointerleave', () => {
    view.cursor = undefined;
    view.hit = undefined;
    tip.hidden = true;
    requestPaint(false);
  });
  upper.addEventListener('dblclick', (event) => {
    zoom({ factor: 0.3, around: ticksAt(view, pointOf(event).x) });
  });
  const onWheel = (/** @type {WheelEvent} */ event) => {
    event.preventDefault();
    const unit = event.deltaMode === 0 ? 1 : 30;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      panBy(((event.deltaX || event.deltaY) * unit) / (view.width - view.lead));
      return;
    }
    const factor = Math.exp(Math.min(100, Math.max(-100, event.deltaY * unit)) / 300);
    zoom({ factor, around: ticksAt(view, pointOf(event).x) });
  };
  upper.addEventListener('wheel', onWheel, { passive: false });
}

function listenToKeys() {
  upper.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys[event.key];
    if (act === undefined) return;
    event.preventDefault();
    act(event);
  });
}

function listenToButtons() {
  /** @type {Readonly<Record<string, () => void>>} */
  const acts = {
    'zoom-in': () => zoom({ factor: 0.5 }),
    'zoom-out': () => zoom({ factor: 2 }),
    whole: showWholeRun,
    'fault-before': () => goToFault(-1),
    'fault-after': () => goToFault(1),
    'go-to-violation': goToViolation,
  };
  for (const [id, act] of Object.entries(acts))
    document.getElementById(id)?.addEventListener('click', act);
}

/** The filter: a box for each group, and within it one for each kind that the run has. */
function buildFilter() {
  const counts = run.picture.kinds.map(() => 0);
  for (const kind of run.messages.kind) counts[kind]++;
  for (const group of [...groups].reverse()) {
    const kinds = run.picture.kinds.flatMap((kind, at) =>
      kind.group === group && counts[at] > 0 ? [at] : [],
    );
    if (kinds.length === 0) continue;
    const inner = document.createElement('details');
    const summary = document.createElement('summary');
    const total = kinds.reduce((sum, kind) => sum + counts[kind], 0);
    const boxes = kinds.map((kind) => {
      const { name } = run.picture.kinds[kind];
      const box = boxOf(`${name} (${counts[kind].toLocaleString('en')})`, view.isKindShown[kind]);
      box.input.addEventListener('change', () => {
        view.isKindShown[kind] = box.input.checked;
        whole.input.checked = boxes.some(({ input }) => input.checked);
        requestPaint(true);
      });
      return box;
    });
    const whole = boxOf(`${groupWords[group]} (${total.toLocaleString('en')})`, false, group);
    whole.input.checked = boxes.some(({ input }) => input.checked);
    whole.input.addEventListener('change', () => {
      for (const { input } of boxes) input.checked = whole.input.checked;
      for (const kind of kinds) view.isKindShown[kind] = whole.input.checked;
      requestPaint(true);
    });
    summary.append(whole.label);
    inner.append(summary, ...boxes.map(({ label }) => label));
    element('kinds').append(inner);
  }
  const lost = boxOf('only lost ones', false);
  lost.input.addEventListener('change', () => {
    view.isLostOnly = lost.input.checked;
    requestPaint(true);
  });
  element('kinds').append(lost.label);
  if (run.picture.partitions.length > 1) buildPartitionChoice();
}

/** @type {Readonly<Record<string, string>>} */
const groupWords = {
  heartbeat: 'heartbeats',
  append: 'appends',
  vote: 'votes',
  client: 'clients',
  link: 'connections',
};

function buildPartitionChoice() {
  const label = document.createElement('label');
  const select = document.createElement('select');
  select.append(new Option('all partitions', '0'));
  run.picture.partitions.forEach((_, at) =>
    select.append(new Option(`partition ${at + 1}`, `${at + 1}`)),
  );
  select.addEventListener('change', () => {
    view.partition = Number(select.value);
    requestPaint(true);
  });
  label.append('of ', select);
  element('kinds').append(label);
}

/**
 * A box with its label, and with the colour of a group.
 * @param {string} text
 * @param {boolean} isChecked
 * @param {string} [group]
 */
function boxOf(text, isChecked, group) {
  const label = document.createElement('label');
  const input = document.createElement('input');
  input.type = 'checkbox';
  input.checked = isChecked;
  label.append(input);
  if (group !== undefined) {
    const sample = document.createElement('span');
    sample.className = 'line';
    sample.style.background = `var(--${group})`;
    label.append(sample);
  }
  label.append(text);
  return { label, input };
}

buildFilter();
listenToPointer();
listenToKeys();
listenToButtons();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  palette = readPalette();
  requestPaint(true);
});
new ResizeObserver(fitToWindow).observe(element('stage').parentElement ?? document.body);
fitToWindow();
showWholeRun();
