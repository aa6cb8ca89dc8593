import { basename } from 'node:path';

import ts from 'typescript';
import { describe, expect, test } from 'vitest';

import { eachNode, filesBelow, layerOf, lineCountOf, syntaxOf, textOf } from './repository.ts';

const folders = ['src', 'test', 'sim', 'bench', 'scripts', 'examples'];
const sources = filesBelow('src', /\.ts$/);
const everything = filesBelow('.', /\.ts$/).filter((path) =>
  folders.some((folder) => path.startsWith(`${folder}/`)),
);
const generated = /(^|\/)generated\//;

/** Names that only say "the rest". */
const forbiddenNames = /^(utils?|helpers?|common|misc)(\.|$)/;

const entryPoints = [
  'src/index.ts',
  'src/client/index.ts',
  'src/raft/index.ts',
  'src/testing/index.ts',
];

/** Time, chance and turns of the loop: `object.property`, or a global by itself. */
const worldAccess = new Set([
  'Date.now',
  'Math.random',
  'performance.now',
  'crypto.randomUUID',
  'crypto.getRandomValues',
  'process.hrtime',
  'process.nextTick',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
]);

function worldAccessesOf(path: string): readonly string[] {
  const found: string[] = [];
  eachNode(syntaxOf(path), (node) => {
    if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression)) {
      const name = `${node.expression.text}.${node.name.text}`;
      if (worldAccess.has(name)) found.push(name);
    }
    if (ts.isCallExpression(node) && ts.isIdentifier(node.expression)) {
      if (worldAccess.has(node.expression.text)) found.push(node.expression.text);
    }
    if (ts.isNewExpression(node) && node.expression.getText() === 'Date') {
      if ((node.arguments ?? []).length === 0) found.push('new Date()');
    }
  });
  return found;
}

function badExportsOf(path: string): readonly string[] {
  const found: string[] = [];
  eachNode(syntaxOf(path), (node) => {
    if (ts.isExportAssignment(node)) found.push('default');
    if (ts.isExportDeclaration(node) && node.exportClause === undefined) found.push('export *');
    if (ts.canHaveModifiers(node)) {
      const modifiers = ts.getModifiers(node) ?? [];
      if (modifiers.some((modifier) => modifier.kind === ts.SyntaxKind.DefaultKeyword)) {
        found.push('default');
      }
    }
    if (ts.isVariableStatement(node) && (node.declarationList.flags & ts.NodeFlags.Let) !== 0) {
      const exported = node.modifiers?.some(
        (modifier) => modifier.kind === ts.SyntaxKind.ExportKeyword,
      );
      if (exported === true) found.push('export let');
    }
  });
  return found;
}

describe('files', () => {
  test('no file is longer than 500 lines', () => {
    const long = everything
      .filter((path) => !generated.test(path))
      .map((path) => ({ path, lines: lineCountOf(textOf(path)) }))
      .filter(({ lines }) => lines > 500);

    expect(long).toEqual([]);
  });

  test('file names say what is inside, in kebab-case', () => {
    const wrong = everything.filter((path) => {
      const name = basename(path);
      return forbiddenNames.test(name) || !/^[a-z0-9]+([-.][a-z0-9]+)*(_pb)?\.ts$/.test(name);
    });

    expect(wrong).toEqual([]);
  });

  test('only entry points are called index', () => {
    const barrels = sources.filter(
      (path) => basename(path) === 'index.ts' && !entryPoints.includes(path),
    );

    expect(barrels).toEqual([]);
  });

  test('exports are named one by one', () => {
    const wrong = everything
      .map((path) => ({ path, exports: badExportsOf(path) }))
      .filter(({ exports }) => exports.length > 0);

    expect(wrong).toEqual([]);
  });

  test('time, chance and turns of the loop come in through ports', () => {
    const wrong = sources
      .filter((path) => !['platform', 'cli'].includes(layerOf(path)))
      .map((path) => ({ path, accesses: worldAccessesOf(path) }))
      .filter(({ accesses }) => accesses.length > 0);

    expect(wrong).toEqual([]);
  });

  test('the pure layers never wait', () => {
    const wrong = sources
      .filter((path) => ['base', 'codec', 'raft', 'policy'].includes(layerOf(path)))
      .filter((path) => {
        let waits = false;
        eachNode(syntaxOf(path), (node) => {
          if (node.kind === ts.SyntaxKind.AsyncKeyword || ts.isAwaitExpression(node)) waits = true;
        });
        return waits;
      });

    expect(wrong).toEqual([]);
  });

  test('a test file mirrors a folder of src or stands beside it for a reason', () => {
    const layers = new Set(sources.map(layerOf));
    const others = ['tidy', 'e2e', 'scenarios', 'fixtures', 'sim', 'bench', 'examples', 'scripts'];
    const wrong = filesBelow('test', /\.test\.ts$/).filter((path) => {
      const folder = path.split('/')[1] ?? '';
      return !layers.has(folder) && !others.includes(folder);
    });

    expect(wrong).toEqual([]);
  });
});
