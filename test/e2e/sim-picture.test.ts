/** The page of a simulated run in a real browser, opened from disk. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';

import { openBrowser } from './support/browser.ts';
import { removedDirectory } from './support/up-process.ts';

const root = resolve(import.meta.dirname, '..', '..');
const program = join(root, 'dist', 'cli', 'main.js');
/** Screenshots stay here, to look at. */
const screenshots = join(root, 'node_modules', '.cache', 'screenshots');

let browser: Browser;
let file = '';

beforeAll(async () => {
  mkdirSync(screenshots, { recursive: true });
  browser = await openBrowser();
  file = join(removedDirectory('picture', afterAll), 'run.html');
  const { status } = spawnSync(
    process.execPath,
    [program, 'sim', 'report', '--seed', '1', '-o', file],
    { timeout: 100_000 },
  );
  expect(status).toBe(0);
});

afterAll(() => browser.close());

interface Opened {
  readonly page: Page;
  readonly complaints: readonly string[];
}

async function open(options: {
  readonly width?: number;
  readonly colorScheme?: 'light' | 'dark';
}): Promise<Opened> {
  const context = await browser.newContext({
    viewport: { width: options.width ?? 1280, height: 800 },
    colorScheme: options.colorScheme ?? 'light',
  });
  onTestFinished(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    // Reading pixels back, as these tests do, makes Chromium warn of it.
    if (!message.text().includes('getImageData')) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => {
    if (!request.url().startsWith('file:')) complaints.push(`asks for ${request.url()}`);
  });
  await page.goto(pathToFileURL(file).href);
  await page.waitForFunction('document.getElementById("drawn").textContent !== ""');
  return { page, complaints };
}

/** How many pixels of the picture have a colour of the page's style, by the colour's name. */
function paintedPixels(page: Page, names: readonly string[]): Promise<Record<string, number>> {
  return page.evaluate(
    `(() => {
      const canvas = document.getElementById('picture');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const style = getComputedStyle(document.documentElement);
      const counts = {};
      for (const name of ${JSON.stringify(names)}) {
        const hex = style.getPropertyValue('--' + name).trim();
        const wanted = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
        let count = 0;
        for (let at = 0; at < data.length; at += 4)
          if (data[at] === wanted[0] && data[at + 1] === wanted[1] && data[at + 2] === wanted[2]) count++;
        counts[name] = count;
      }
      return counts;
    })()`,
  );
}

test.each(['light', 'dark'] as const)(
  'the page opens from disk and draws roles, faults and answers (%s)',
  async (colorScheme) => {
    const { page, complaints } = await open({ colorScheme });

    const pixels = await paintedPixels(page, ['follower', 'leader', 'down', 'fault', 'ok']);
    await page.screenshot({ path: join(screenshots, `sim-report-${colorScheme}.png`) });

    for (const [name, count] of Object.entries(pixels)) expect(count, name).toBeGreaterThan(20);
    expect(complaints).toEqual([]);
  },
);

test('zooming in draws the messages of a moment as arrows', async () => {
  const { page, complaints } = await open({});
  const before = await paintedPixels(page, ['append']);

  const drawnBefore = await page.textContent('#drawn');
  for (let times = 0; times < 8; times++) await page.click('#zoom-in');
  const drawn = page.locator('#drawn');
  await expect.poll(() => drawn.textContent(), { timeout: 20_000 }).not.toBe(drawnBefore);
  // The middle of a run may be a quiet moment: somewhere behind it, or before it, entries are sent.
  const wanted = (before['append'] ?? 0) + 20;
  let after = await paintedPixels(page, ['append']);
  for (const [key, stepsMax] of [
    ['PageDown', 120],
    ['PageUp', 240],
  ] as const) {
    for (let steps = 0; steps < stepsMax && (after['append'] ?? 0) <= wanted; steps++) {
      await page.locator('#cursor').press(key);
      await page.waitForTimeout(20);
      after = await paintedPixels(page, ['append']);
    }
  }
  await page.screenshot({ path: join(screenshots, 'sim-report-zoomed.png') });

  expect(after['append']).toBeGreaterThan(wanted);
  expect(complaints).toEqual([]);
});

test('the pointer over a lane tells what the node was doing', async () => {
  const { page, complaints } = await open({});
  const box = await page.locator('#cursor').boundingBox();

  const tip = page.locator('#tip');
  // Somewhere along the height there is a lane.
  for (let y = 10; y < (box?.height ?? 0) && !(await tip.isVisible()); y += 10)
    await page.mouse.move((box?.x ?? 0) + (box?.width ?? 0) / 2, (box?.y ?? 0) + y);

  expect(await tip.isVisible()).toBe(true);
  expect(await tip.textContent()).not.toBe('');
  expect(complaints).toEqual([]);
});

test('a telephone shows it without scrolling sideways', async () => {
  const { page, complaints } = await open({ width: 390 });

  const width = await page.evaluate('document.documentElement.scrollWidth');
  await page.screenshot({ path: join(screenshots, 'sim-report-390.png') });

  expect(width).toBeLessThanOrEqual(390);
  expect(complaints).toEqual([]);
});
