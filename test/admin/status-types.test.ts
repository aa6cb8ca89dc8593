/** The types of a node's status, which users read, against the messages of the wire. */
import { readFileSync } from 'node:fs';
import { expect, expectTypeOf, test } from 'vitest';

import { statusTypes, statusTypesPath } from '../../scripts/status-types.ts';
import type { Plain } from '../../src/admin/admin-client.ts';
import type { GetStatusResponse } from '../../src/admin/generated/clustor/admin/v1/admin_pb.ts';
import type { AdminNodeStatus } from '../../src/admin/generated/node-status.ts';

test('the types are those of the messages as they are now', () => {
  expect(readFileSync(statusTypesPath, 'utf8')).toBe(statusTypes());
});

test('a status has the fields of the message, all of them and no other', () => {
  expectTypeOf<keyof AdminNodeStatus>().toEqualTypeOf<keyof Plain<GetStatusResponse>>();
  expect(statusTypes()).toContain('readonly partitions: readonly ReportedPartition[];');
});
