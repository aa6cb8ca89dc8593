/** The page of a simulated run: that watching changes nothing, what it holds, and that its program can read it. */
import vm from 'node:vm';

import { beforeAll, describe, expect, test } from 'vitest';

import {
  reportPage,
  viewerScripts,
  viewerStyle,
  type PageAssets,
} from '../../src/testing/report/report-page.ts';
import type { RunPicture } from '../../src/testing/report/run-picture.ts';
import { RunRecorder } from '../../src/testing/report/run-recorder.ts';
import { runSimulation, type SimRunReport } from '../../src/testing/sim-run.ts';
import { textOf } from '../tidy/repository.ts';
import { drainMicrotasks } from './sim-rounds.ts';

const seed = 3;
const viewerText = (name: string): string => textOf(`src/testing/report/viewer/${name}`);
const assets: PageAssets = {
  scripts: viewerScripts.map(viewerText),
  style: viewerText(viewerStyle),
};

interface Watched {
  readonly report: SimRunReport;
  readonly picture: RunPicture;
}

async function watched(faultsMax?: number): Promise<Watched> {
  const recorder = new RunRecorder();
  const { onEvent } = recorder;
  const limit = faultsMax === undefined ? {} : { faultsMax };
  const report = await runSimulation({ seed, drainMicrotasks, tap: recorder, onEvent, ...limit });
  return { report, picture: recorder.picture(report) };
}

function dataOf(page: string): RunPicture {
  const [, json = ''] =
    /<script type="application\/json" id="run-data">(.*?)<\/script>/s.exec(page) ?? [];
  return JSON.parse(json) as RunPicture;
}

/** What the viewer's functions give in a world with this data and nothing else of a browser. */
function inViewer(picture: RunPicture, expression: string, globals: object = {}): unknown {
  const scripts = assets.scripts.slice(0, -1).join('\n');
  const textContent = JSON.stringify(picture);
  const document = { getElementById: () => ({ textContent }) };
  return vm.runInNewContext(`${scripts}\n${expression}`, { document, ...globals });
}

let run: Watched;

beforeAll(async () => {
  run = await watched();
}, 60_000);

describe('watching a run', () => {
  test(
    'changes nothing: its report and trace hash are those of the run alone',
    { timeout: 60_000 },
    async () => {
      const alone = await runSimulation({ seed, drainMicrotasks });

      expect(run.report).toEqual(alone);
    },
  );

  test('gives the same page each time', { timeout: 60_000 }, async () => {
    const again = await watched();

    expect(reportPage(again.picture, assets) === reportPage(run.picture, assets)).toBe(true);
  });

  test('a prefix of the plan has only the first faults', { timeout: 60_000 }, async () => {
    const { picture } = await watched(2);

    expect(picture.faults.length).toBeLessThanOrEqual(2);
    expect(picture.counts['plannedFaults']).toBe(2);
  });
});

describe('the picture of a run', () => {
  test('has every fault, operation and leader of the report', () => {
    const { report, picture } = run;
    const faults = Object.values(report.faults).reduce((sum, count) => sum + count, 0);
    const { replicas, operations } = picture;
    const reigns = new Set(
      replicas.role.flatMap((role, at) =>
        picture.roleNames[role] === 'leader'
          ? [`${replicas.partition[at]}/${replicas.term[at]}`]
          : [],
      ),
    );

    expect(picture.faults).toHaveLength(faults);
    expect(operations.at).toHaveLength(report.operations);
    expect(reigns.size).toBe(report.leaderChanges);
    expect(picture.lanes.map(({ name }) => name)).toEqual([
      'node 1',
      'node 2',
      'node 3',
      'client-0',
      'client-1',
      'client-2',
    ]);
  });

  test('has columns of one length, in order of time, within the run', () => {
    for (const columns of [run.picture.messages, run.picture.replicas, run.picture.lives]) {
      const { at } = columns;
      const lengths = Object.entries(columns).map(([name, column]) =>
        name === 'values' ? at.length : (column as readonly unknown[]).length,
      );

      expect(new Set(lengths)).toEqual(new Set([at.length]));
      expect(at.every((difference) => difference >= 0)).toBe(true);
      expect(at.reduce((sum, difference) => sum + difference, 0)).toBeLessThanOrEqual(
        run.picture.endTicks,
      );
    }
  });

  test('shows messages of all groups, most delivered, some lost, none unreadable', () => {
    const { messages, kinds } = run.picture;
    const seen = new Set(messages.kind.map((kind) => kinds[kind]?.group));
    const names = new Set(messages.kind.map((kind) => kinds[kind]?.name));
    const lost = messages.fate.filter((fate) => fate === 1).length;

    expect(seen).toEqual(new Set(['heartbeat', 'append', 'vote', 'client', 'link']));
    expect(names.has('unreadable')).toBe(false);
    expect(lost).toBeGreaterThan(0);
    expect(lost).toBeLessThan(messages.at.length / 20);
    expect(messages.took.every((took) => took >= 0)).toBe(true);
    expect(messages.from.every((lane, at) => lane >= 0 && lane !== messages.to[at])).toBe(true);
  });
});

describe('the page of a run', () => {
  test('holds the data of the run', () => {
    const page = reportPage(run.picture, assets);

    // Compared as text: a difference of a megabyte helps nobody.
    expect(JSON.stringify(dataOf(page)) === JSON.stringify(run.picture)).toBe(true);
  });

  test('loads nothing', () => {
    const page = reportPage(run.picture, assets);
    const loads = /https?:|\bsrc\s*=|\bhref\s*=|url\(|@import|\bimport\b|fetch\(|XMLHttpRequest/g;

    // Types of the scripts stand in comments, and name files.
    expect(page.replaceAll(/\/\*.*?\*\//gs, '').match(loads)).toBeNull();
    expect(page).toContain("default-src 'none'");
  });

  test('says what is wrong, whatever the text, and offers its place', () => {
    const violation = 'at 5.000 ms: </script><!-- <b>node 2</b> & others';
    const page = reportPage({ ...run.picture, violation }, assets);

    expect(page).toContain('&lt;/script&gt;&lt;!-- &lt;b&gt;node 2&lt;/b&gt; &amp; others');
    expect(page).toContain('id="go-to-violation"');
    expect(page.split('</script>')).toHaveLength(3);
    expect(dataOf(page).violation).toBe(violation);
  });

  test('has every element that its program asks for', () => {
    const page = reportPage({ ...run.picture, violation: 'wrong' }, assets);
    const program = assets.scripts.join('\n');
    const asked = [...program.matchAll(/(?:element|canvasOf|getElementById)\('([a-z-]+)'\)/g)];

    expect(asked.length).toBeGreaterThan(5);
    for (const [, id = ''] of asked) expect(page).toContain(`id="${id}"`);
  });
});

describe('the program of the page', () => {
  test('unpacks the messages as they were packed', () => {
    const { messages, endTicks } = run.picture;
    const unpacked = inViewer(
      run.picture,
      `const { messages } = readRun();
       ({ count: messages.count, start: messages.start.at(-1), end: Math.max(...messages.blockEnd),
          valueCount: skipValues(JSON.parse(document.getElementById().textContent).kinds[messages.kind.at(-1)].fields,
            messages.values, messages.offset.at(-1)) })`,
    );

    expect(unpacked).toEqual({
      count: messages.at.length,
      start: messages.at.reduce((sum, difference) => sum + difference, 0),
      end: expect.any(Number) as number,
      valueCount: messages.values.length,
    });
    expect((unpacked as { readonly end: number }).end).toBeLessThanOrEqual(endTicks);
  });

  test('knows of every replica who leads, and its commit index, at any time', () => {
    const [lastText, firstText] = inViewer(
      run.picture,
      `const run = readRun();
       [run.picture.endTicks - 1, 0].map((ticks) => describeInstant(run, ticks))`,
    ) as [string, string];

    expect(lastText.match(/leader, term/g)).toHaveLength(1);
    expect(lastText.match(/commit index [1-9]/g)).toHaveLength(3);
    expect(firstText).not.toContain('commit index');
  });

  test('paints the whole run with a bounded number of lines, and finds and describes what is under a point', () => {
    const calls: Record<string, number> = {};
    const context = new Proxy(
      { measureText: () => ({ width: 40 }), createPattern: () => 'pattern' },
      {
        get: (target, name: string) =>
          Reflect.get(target, name) ?? (() => (calls[name] = (calls[name] ?? 0) + 1)),
        set: () => true,
      },
    );
    class OffscreenCanvas {
      getContext(): unknown {
        return context;
      }
    }

    const found = inViewer(
      run.picture,
      `const run = readRun();
       const view = createView(run);
       layOut(run, view, { width: 1400, height: 800 });
       showSpan(run, view, { from: 0, to: run.picture.endTicks });
       const { drawn, inView } = paint({ context, run, view, palette: {} });
       const hits = {};
       showSpan(run, view, { from: 64_000, to: 160_000 });
       for (let x = 0; x < 1400; x += 10)
         for (let y = 0; y < view.height; y += 4) {
           const hit = hitAt(run, view, { x, y });
           if (hit !== undefined) hits[hit.type] = describeHit(run, hit).length;
         }
       view.cursor = 1000;
       view.hit = { type: 'message', position: 5, ticks: 1000 };
       paintCursor({ context, run, view, palette: {} });
       ({ drawn, inView, hits })`,
      { context, OffscreenCanvas },
    ) as { drawn: number; inView: number; hits: Record<string, number> };

    expect(found.inView).toBeGreaterThan(3_000);
    expect(found.drawn).toBeLessThan(found.inView);
    expect(found.drawn).toBeGreaterThan(500);
    expect(calls['fillRect']).toBeGreaterThan(500);
    expect(Object.keys(found.hits).sort()).toEqual([
      'event',
      'fault',
      'message',
      'operation',
      'replica',
    ]);
    expect(Math.min(...Object.values(found.hits))).toBeGreaterThan(1);
  });
});
