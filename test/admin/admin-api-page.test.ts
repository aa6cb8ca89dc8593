import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { AdminService } from '../../src/admin/generated/clustor/admin/v1/admin_pb.ts';

const root = join(import.meta.dirname, '..', '..');
const page = readFileSync(join(root, 'docs', 'reference', 'admin-api.md'), 'utf8');

/** The names in the first column of the table under this row of headings. */
function firstColumn(headings: string): readonly string[] {
  const table = page.slice(page.indexOf(headings)).split('\n\n')[0] ?? '';
  return [...table.matchAll(/^\| `(\w+)` /gm)].map(([, name = '']) => name);
}

describe('the page about the admin API', () => {
  test('has a row for every method of the service', () => {
    expect(firstColumn('| method | answers | asks for |')).toEqual(
      AdminService.methods.map((method) => method.name),
    );
  });

  test('has a row for every clause of an explanation', () => {
    const source = ['why.ts', 'why-disk.ts', 'why-quarantine.ts', 'why-snapshots.ts']
      .map((file) => readFileSync(join(root, 'src', 'admin', file), 'utf8'))
      .join('');
    const clauses = new Set([...source.matchAll(/clause: '(\w+)'/g)].map(([, name]) => name));

    expect(new Set(firstColumn('| clause | means |'))).toEqual(clauses);
  });
});
