/** The code of wire messages is generated from the catalog; what it does is tested with the messages. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

import { wireCode as code, wireCodePath } from '../../scripts/wire-code.ts';
import { wireCode } from '../../src/codec/generated/wire-code.ts';
import { wireCatalog } from '../../src/codec/wire-catalog.ts';

test('the code of wire messages is what the catalog says', () => {
  expect(readFileSync(wireCodePath, 'utf8'), 'run `npm run generate`').toBe(code());
});

test('every message has code, but for the one whose layout is published', () => {
  const kinds = wireCatalog.map(({ kind }) => kind).filter((kind) => kind !== 'preVoteResponse');
  expect(Object.keys(wireCode)).toEqual(kinds);
});
