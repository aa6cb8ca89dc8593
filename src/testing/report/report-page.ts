/**
 * The page of a run: one HTML file that holds its style, its program and its data, and loads nothing.
 *
 * The program is the plain browser scripts of `viewer/`, which the build copies beside the compiled sources; whoever makes a
 * page reads them and hands them in, because this layer touches no files. The same run gives the same bytes: no time of day,
 * no machine, no path is in them.
 */
import type { RunPicture } from './run-picture.ts';

/** The files of `viewer/` in the order in which they run. */
export const viewerScripts = ['data.js', 'view.js', 'paint.js', 'hover.js', 'controls.js'] as const;

/** The style sheet of `viewer/`. */
export const viewerStyle = 'page.css';

/** What the page is made of besides its data. */
export interface PageAssets {
  /** Texts of {@link viewerScripts}, in that order. */
  readonly scripts: readonly string[];
  readonly style: string;
}

/** The whole page. */
export function reportPage(picture: RunPicture, assets: PageAssets): string {
  const { seed, violation } = picture;
  const isFailed = violation !== null;
  const verdict = isFailed ? 'an invariant is broken' : 'every invariant held';
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>Simulated run, seed ${seed}: ${isFailed ? 'failed' : 'passed'}</title>
<style>
${assets.style.trim()}
</style>
</head>
<body>
<header>
<h1>Simulated run, seed ${seed}</h1>
<span class="verdict${isFailed ? ' failed' : ''}">${isFailed ? '✗' : '✓'} ${verdict}</span>
<dl>${countsOf(picture)}</dl>
</header>
${isFailed ? violationOf(violation, picture) : ''}${bars}
<div id="stage">
<canvas id="picture"></canvas>
<canvas id="cursor" tabindex="0" role="application" aria-label="Timeline of the run: a lane for each node, arrows for messages. Arrow keys pan, plus and minus zoom, shift with arrow keys moves the cursor and reads out the nodes."></canvas>
<div id="tip" hidden></div>
</div>
<p id="announced" class="hidden" aria-live="polite"></p>
<noscript>This page draws its picture with a script of its own; nothing is loaded.</noscript>
<script type="application/json" id="run-data">${embedded(picture)}</script>
<script>
(() => {
'use strict';
${assets.scripts.map((script) => script.trim()).join('\n')}
})();
</script>
</body>
</html>
`;
}

/** JSON that can stand inside a script element: nothing in it ends the element or begins a comment. */
function embedded(picture: RunPicture): string {
  return JSON.stringify(picture).replaceAll('<', '\\u003c');
}

function countsOf({ counts, lanes, partitions, traceHash }: RunPicture): string {
  const nodes = lanes.filter(({ type }) => type === 'node').length;
  const rows: readonly (readonly [string, string | number])[] = [
    ['nodes', nodes],
    [partitions.length === 1 ? 'partition' : 'partitions', partitions.length],
    ['simulated s', ((counts['simulatedMs'] ?? 0) / 1_000).toFixed(1)],
    ['messages', counted(counts['messages'])],
    ['operations', counted(counts['operations'])],
    ['acknowledged', counted(counts['acknowledged'])],
    ['leader changes', counted(counts['leaderChanges'])],
    ['crashes', counted(counts['crashes'])],
    [`of ${counted(counts['plannedFaults'])} planned faults happened`, counted(counts['faults'])],
    ['trace', traceHash],
  ];
  return rows.map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`).join('');
}

function counted(count = 0): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ',');
}

function violationOf(violation: string, { partitions }: RunPicture): string {
  const named = partitions.flatMap((id, at) =>
    violation.includes(id) ? [`<p>${id} is partition ${at + 1}.</p>`] : [],
  );
  return `<section class="violation" aria-label="What is wrong">
<pre>${escaped(violation)}</pre>
${named.join('\n')}
<button type="button" id="go-to-violation">show its place (v)</button>
</section>
`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function sample(colour: string, text: string): string {
  return `<li><span class="block" style="background:var(--${colour})"></span>${text}</li>`;
}

const bars = `<div class="bar">
<span><button type="button" id="zoom-in" aria-label="zoom in">+</button>
<button type="button" id="zoom-out" aria-label="zoom out">−</button>
<button type="button" id="whole">whole run</button></span>
<span><button type="button" id="fault-before">← fault</button>
<button type="button" id="fault-after">fault →</button></span>
<span id="drawn"></span>
<span class="keys">wheel zooms, drag pans; keys: ← → + − 0 [ ] and shift with ← →</span>
</div>
<fieldset id="kinds" class="bar"><legend>messages</legend></fieldset>
<ul class="legend">
${[
  sample('leader', 'leader'),
  sample('candidate', 'candidate'),
  sample('preCandidate', 'pre-candidate'),
  sample('follower', 'follower'),
  sample('down', 'down (falling hatch)'),
  sample('paused', 'stopped (rising hatch)'),
  sample('starting', 'starting (dots)'),
  sample('fault', 'fault, warning'),
].join('\n')}
<li><strong style="color:var(--lost)">×</strong> lost message</li>
${sample('ok', 'operation acknowledged')}
${sample('fail', 'surely failed (thin)')}
${sample('info', 'outcome unknown (frame)')}
</ul>`;
