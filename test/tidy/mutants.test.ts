import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { mutants } from '../../sim/mutants.ts';
import { root, textOf } from './repository.ts';

const page = 'docs/reference/mutants.md';

/** Rows of the page's table. */
function rowsOfPage(): readonly { readonly name: string; readonly breaks: string }[] {
  return [...textOf(page).matchAll(/^\| `([a-z-]+)` \| (.+?) \| (.+) \|$/gm)].map(
    ([, name = '', breaks = '']) => ({ name, breaks }),
  );
}

describe('the page of mutants', () => {
  test('lists exactly the mutants there are, each with its rule', () => {
    const known = mutants.map(({ name, breaks }) => ({ name, breaks }));

    expect(rowsOfPage(), 'run `npm run mutants -- --write`').toEqual(known);
  });

  test('names who caught each', () => {
    expect(textOf(page)).not.toContain('**nobody**');
  });
});

describe('mutants', () => {
  test('have names of their own', () => {
    expect(new Set(mutants.map(({ name }) => name)).size).toBe(mutants.length);
  });

  test('name a clause or section that the specification has', () => {
    const specification = textOf('docs/specification.md');
    const unknown = mutants.filter(({ breaks }) => {
      const clause = /^(?:[A-Z]+-\d+|§\d+(?:\.\d+)?): ./.exec(breaks)?.[0].split(':')[0];
      return clause === undefined || !specification.includes(clause);
    });

    expect(unknown).toEqual([]);
  });

  test('name test files that are there', () => {
    const files = new Set(mutants.flatMap(({ tests }) => tests));
    const missing = [...files].filter((file) => !existsSync(join(root, file)));

    expect(missing).toEqual([]);
  });

  test('expect the tests exactly where they name some', () => {
    const wrong = mutants.filter(
      ({ expected, tests }) => (expected === 'tests') !== tests.length > 0,
    );

    expect(wrong).toEqual([]);
  });
});
