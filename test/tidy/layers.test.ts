import { dirname, join, normalize } from 'node:path';

import { describe, expect, test } from 'vitest';

import { filesBelow, importsOf, layerOf, runtimeImportsOf } from './repository.ts';

const pure = ['base', 'ports', 'codec', 'policy', 'raft'];
const middle = [...pure, 'storage', 'security', 'telemetry'];

/** Which folders each folder may import from; ARCHITECTURE.md shows the same table. */
const layerTable: Readonly<Record<string, readonly string[]>> = {
  base: [],
  ports: ['base'],
  codec: ['base', 'ports'],
  policy: ['base', 'ports', 'codec'],
  raft: ['base', 'ports', 'codec', 'policy'],
  storage: pure,
  security: pure,
  telemetry: pure,
  runtime: middle,
  admin: [...middle, 'runtime'],
  client: [...middle, 'runtime'],
  // The rim: implementations of the ports. Neither knows what runs on top of it …
  platform: [...pure, 'security'],
  // … except that the simulator hosts a whole cluster.
  testing: [...middle, 'runtime', 'client', 'admin'],
  // Composition roots.
  index: [...middle, 'runtime', 'admin', 'client', 'platform'],
  cli: [...middle, 'runtime', 'admin', 'client', 'platform', 'testing', 'index'],
};

/** The only files that may reach the rim. */
const mayImportPlatform =
  /^src\/([a-z-]+\.ts|client\/(index|admin)\.ts|testing\/simulate\.ts|cli\/.*|platform\/.*)$/;

const sources = filesBelow('src', /\.ts$/);

function targetOf(path: string, specifier: string): string | undefined {
  return specifier.startsWith('.')
    ? normalize(join(dirname(path), specifier)).replaceAll('\\', '/')
    : undefined;
}

function edges(
  imports: (path: string) => readonly string[] = importsOf,
): readonly { readonly from: string; readonly to: string }[] {
  return sources.flatMap((from) =>
    imports(from).flatMap((specifier) => {
      const to = targetOf(from, specifier);
      return to === undefined ? [] : [{ from, to }];
    }),
  );
}

/** Finds a cycle among the modules, as the list of files that it goes through. */
function findCycle(): readonly string[] {
  const targets = new Map<string, string[]>(sources.map((path) => [path, []]));
  for (const { from, to } of edges(runtimeImportsOf)) targets.get(from)?.push(to);
  const done = new Set<string>();
  const walk = (path: string, trail: readonly string[]): readonly string[] => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
    if (done.has(path)) return [];
    for (const next of targets.get(path) ?? []) {
      const cycle = walk(next, [...trail, path]);
      if (cycle.length > 0) return cycle;
    }
    done.add(path);
    return [];
  };
  for (const path of sources) {
    const cycle = walk(path, []);
    if (cycle.length > 0) return cycle;
  }
  return [];
}

describe('layers', () => {
  test('every folder of src has a row in the layer table', () => {
    const folders = new Set(sources.map(layerOf));

    expect([...folders].filter((folder) => !(folder in layerTable))).toEqual([]);
  });

  test('imports only go down', () => {
    const wrong = edges().filter(({ from, to }) => {
      const [source, target] = [layerOf(from), layerOf(to)];
      if (source === target) return false;
      // The client's entry point composes a client from its parts.
      if (/^src\/client\/(index|admin)\.ts$/.test(from) && ['platform', 'admin'].includes(target))
        return false;
      // The simulator's entry for users waits for turns of the real loop.
      if (from === 'src/testing/simulate.ts' && target === 'platform') return false;
      return !(layerTable[source] ?? []).includes(target);
    });

    expect(wrong.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  test('platform is reached only from the composition roots', () => {
    const wrong = edges().filter(
      ({ from, to }) => layerOf(to) === 'platform' && !mayImportPlatform.test(from),
    );

    expect(wrong.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  test('node modules are imported only by platform and cli, and deterministic cryptography by one file', () => {
    const wrong = sources
      .filter((path) => !['platform', 'cli'].includes(layerOf(path)))
      .filter((path) =>
        importsOf(path).some(
          (specifier) =>
            specifier.startsWith('node:') &&
            !(path === 'src/security/node-cryptography.ts' && specifier === 'node:crypto'),
        ),
      );

    expect(wrong).toEqual([]);
  });

  test('the pure layers import no package', () => {
    const wrong = sources
      .filter((path) => pure.includes(layerOf(path)))
      .filter((path) => importsOf(path).some((specifier) => !specifier.startsWith('.')));

    expect(wrong).toEqual([]);
  });

  test('relative imports name the file with its extension, and it exists', () => {
    const known = new Set(sources);
    const wrong = edges().filter(
      ({ to }) => !known.has(to) && !to.startsWith('..') && !to.endsWith('.json'),
    );

    expect(wrong.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  test('modules do not import each other in circles when types are erased', () => {
    expect(findCycle()).toEqual([]);
  });
});
