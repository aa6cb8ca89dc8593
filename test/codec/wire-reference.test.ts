import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { wireCatalogJson, wireReference } from '../../scripts/wire-reference.ts';
import { wireCatalog } from '../../src/codec/wire-catalog.ts';

const page = (name: string): string =>
  readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'reference', name), 'utf8');

describe('the wire reference', () => {
  test('is what the catalog says', () => {
    expect(page('wire.md')).toBe(wireReference());
  });

  test('as data is the catalog', () => {
    expect(page('wire_catalog.json')).toBe(wireCatalogJson());
    expect(JSON.parse(page('wire_catalog.json'))).toMatchObject({ messages: wireCatalog });
  });

  test('has a section for every message and a row for every field', () => {
    const text = page('wire.md');
    for (const row of wireCatalog) {
      const section = text.split(`\n### ${row.kind}\n`)[1]?.split('\n### ')[0] ?? '';
      expect(section, row.kind).not.toBe('');
      for (const field of row.fields)
        expect(section).toMatch(new RegExp(`^\\| \`${field.name}(\\[\\])?\` \\|`, 'm'));
    }
  });
});
