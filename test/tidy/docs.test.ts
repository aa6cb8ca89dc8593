import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { errorCodes } from '../../src/base/error-codes.ts';
import { quarantineReasons, quarantineRules } from '../../src/policy/quarantine.ts';
import { decisionIndex, errorReference } from '../../scripts/reference-docs.ts';
import { filesBelow, lineCountOf, root, textOf } from './repository.ts';

const pages = filesBelow('.', /\.md$/).filter((path) => !path.startsWith('docs/api/'));

/** Markdown without its fenced code. */
function proseOf(path: string): string {
  return textOf(path).replace(/^(```|~~~)[\s\S]*?^\1/gm, '');
}

/** The anchors that a page offers, as GitHub makes them. */
function anchorsOf(path: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of proseOf(path).matchAll(/^#{1,6} +(.+)$/gm)) {
    const anchor = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-');
    anchors.add(anchor);
  }
  return anchors;
}

function brokenLinksOf(page: string): readonly string[] {
  const broken: string[] = [];
  for (const [, target = ''] of proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target)) continue;
    const [path = '', anchor] = target.split('#');
    const file = path === '' ? page : join(dirname(page), path);
    if (!existsSync(join(root, file))) broken.push(target);
    else if (anchor !== undefined && !anchorsOf(file).has(anchor)) broken.push(target);
  }
  return broken;
}

describe('documents', () => {
  test('the first screen of the README has 40 lines at most and says what matters', () => {
    const readme = textOf('README.md');
    const firstScreen = readme.split(/^## /m)[0] ?? '';

    expect(lineCountOf(firstScreen)).toBeLessThanOrEqual(40);
    expect(firstScreen).toContain('npm ci && npm start');
    expect(firstScreen).toContain('redis-cli');
    expect(firstScreen).toMatch(/\bnot\b/);
    expect(firstScreen).toMatch(/durable/i);
    expect(firstScreen).toContain('](docs/README.md)');
  });

  test('ARCHITECTURE.md has 250 lines at most', () => {
    expect(lineCountOf(textOf('ARCHITECTURE.md'))).toBeLessThanOrEqual(250);
  });

  test('ARCHITECTURE.md has a row for every folder of src and for no other', () => {
    const folders = new Set(
      filesBelow('src', /\.ts$/)
        .map((path) => path.split('/'))
        .filter((parts) => parts.length > 2)
        .map((parts) => parts[1] ?? ''),
    );
    const rows = [...textOf('ARCHITECTURE.md').matchAll(/^\| `src\/([a-z-]+)\/` /gm)];

    expect(new Set(rows.map(([, folder]) => folder))).toEqual(folders);
  });

  test('links lead somewhere', () => {
    const broken = pages
      .map((page) => ({ page, links: brokenLinksOf(page) }))
      .filter(({ links }) => links.length > 0);

    expect(broken).toEqual([]);
  });

  test('every error code has its section, generated from the table', () => {
    const reference = textOf('docs/reference/errors.md');
    const sections = [...reference.matchAll(/^### `(CLUSTOR_[A-Z_]+)`$/gm)].map(
      ([, code = '']) => code,
    );

    expect(sections.toSorted()).toEqual(Object.keys(errorCodes).toSorted());
    expect(reference, 'run `npm run docs`').toBe(errorReference());
  });

  test('wire numbers of errors are given out once', () => {
    const numbers = Object.values(errorCodes).map((row) => row.wire);

    expect(new Set(numbers).size).toBe(numbers.length);
  });

  test('a decision record has its parts and fits on a page', () => {
    const wrong = filesBelow('docs/adr', /\.md$/)
      .filter((path) => !path.endsWith('README.md'))
      .filter((path) => {
        const text = textOf(path);
        const parts = ['status', 'context', 'decision', 'consequences', 'rejected'];
        const complete = parts.every((part) =>
          new RegExp(`^(#+ |\\*\\*)?${part}\\b`, 'im').test(text),
        );
        return !complete || lineCountOf(text) > 60 || !/\/\d{4}-[a-z0-9-]+\.md$/.test(path);
      });

    expect(wrong).toEqual([]);
  });

  test('the index of decision records lists all of them', () => {
    expect(textOf('docs/adr/README.md'), 'run `npm run docs`').toBe(decisionIndex());
  });

  test('decision records are numbered once each', () => {
    const numbers = filesBelow('docs/adr', /^\d{4}-.*\.md$/).map((path) =>
      path.slice('docs/adr/'.length, 'docs/adr/'.length + 4),
    );

    expect(new Set(numbers).size).toBe(numbers.length);
  });

  test('every clause and section of the specification says whether it exists', () => {
    const specification = textOf('docs/specification.md');
    const unmarked = specification
      .split('\n')
      .filter(
        (line) =>
          /^\| [A-Z]+-\d+ \|/.test(line) || line.startsWith('**§') || /^#{2,4} §/.test(line),
      )
      .filter((line) => !/\[(exists|partly|planned)\]/.test(line));

    expect(unmarked).toEqual([]);
  });

  test('the specification shows what each quarantine allows', () => {
    const rules = Object.keys(
      quarantineRules.Integrity,
    ) as (keyof typeof quarantineRules.Integrity)[];
    const rows = rules.map((rule) => {
      const cells = quarantineReasons.map((reason) => {
        const value = quarantineRules[reason][rule];
        if (typeof value === 'string') return value;
        return value ? 'yes' : 'no';
      });
      return `| ${rule} | ${cells.join(' | ')} |`;
    });

    expect(textOf('docs/specification.md')).toContain(rows.join('\n'));
  });

  test('no file speaks of one machine', () => {
    const trace = new RegExp(['', '(home|Users|work|mnt)', '[a-z]+', ''].join('/'));
    const texts = filesBelow('.', /\.(ts|js|json|md|sh|yaml|yml|proto)$|^run$|^install-/).filter(
      (path) => statSync(join(root, path)).size < 5_000_000,
    );
    const wrong = texts.filter((path) => trace.test(textOf(path)));
    const lock = textOf('package-lock.json');
    const hosts = [...lock.matchAll(/"resolved": "https?:\/\/([^/]+)/g)].map(([, host]) => host);

    expect(wrong).toEqual([]);
    expect(hosts.filter((host) => host !== 'registry.npmjs.org')).toEqual([]);
  });
});
