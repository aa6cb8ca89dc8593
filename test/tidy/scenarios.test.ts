import { basename } from 'node:path';

import ts from 'typescript';
import { describe, expect, test } from 'vitest';

import { eachNode, filesBelow, syntaxOf, textOf } from './repository.ts';

const page = 'docs/reference/scenarios.md';
const scenarioFiles = filesBelow('test/scenarios', /\.test\.ts$/);

/** Numbers of the regressions that tests or groups of tests of a file are named after. */
function numbersOf(path: string): readonly number[] {
  const found = new Set<number>();
  eachNode(syntaxOf(path), (node) => {
    if (!ts.isCallExpression(node)) return;
    const [name] = node.arguments;
    if (name === undefined || !ts.isStringLiteralLike(name)) return;
    const number = /^regression (\d+): ./.exec(name.text)?.[1];
    if (number !== undefined) found.add(Number(number));
  });
  return [...found];
}

/** Pairs of number and file, as text that reads well in a difference. */
function pairsOfTests(): readonly string[] {
  return scenarioFiles
    .flatMap((path) => numbersOf(path).map((number) => `${number} in ${basename(path)}`))
    .toSorted();
}

function pairsOfPage(): readonly string[] {
  return [...textOf(page).matchAll(/^\| (\d+) \| .+ \| (.+) \|$/gm)]
    .flatMap(([, number = '', files = '']) =>
      [...files.matchAll(/\]\((?:\.\.\/)+test\/scenarios\/([a-z-]+\.test\.ts)\)/g)].map(
        ([, file = '']) => `${number} in ${file}`,
      ),
    )
    .toSorted();
}

describe('the page of scenarios', () => {
  test('names exactly the regressions that have a test, each with its files', () => {
    expect(pairsOfPage()).toEqual(pairsOfTests());
  });

  test('has each number once', () => {
    const numbers = [...textOf(page).matchAll(/^\| (\d+) \|/gm)].map(([, number]) => number);

    expect(numbers.length).toBeGreaterThan(30);
    expect(new Set(numbers).size).toBe(numbers.length);
  });

  test('links every file of scenarios', () => {
    const unlinked = scenarioFiles.filter((path) => !textOf(page).includes(`../../${path})`));

    expect(unlinked).toEqual([]);
  });
});
