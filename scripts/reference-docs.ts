/**
 * Writes the pages of `docs/reference/` that come from tables in the sources. A test holds them equal.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { errorCodes } from '../src/base/error-codes.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

const ranges: readonly { readonly title: string; readonly first: number; readonly last: number }[] =
  [
    { title: 'General', first: 900, last: 999 },
    { title: 'Wire', first: 1000, last: 1999 },
    { title: 'Leadership, reads and routing', first: 2000, last: 2999 },
    { title: 'Storage', first: 3000, last: 3999 },
    { title: 'Snapshots', first: 4000, last: 4999 },
    { title: 'Security', first: 5000, last: 5999 },
    { title: 'Flow', first: 6000, last: 6999 },
    { title: 'Membership', first: 7000, last: 7999 },
    { title: 'Apply and idempotency', first: 8000, last: 8999 },
  ];

const introduction = `# Errors

<!-- Written by \`npm run docs\` from src/base/error-codes.ts; do not edit. -->

Every failure that a caller can meet is a \`ClustorError\` with a stable \`code\`. Programs look at \`code\`, \`retryable\` and
\`outcome\`, never at the message.

| outcome | what is known about the request |
| --- | --- |
| \`surelyNot\` | it has no effect and never will have one |
| \`committed\` | it is in the log for good, whatever else went wrong |
| \`unknown\` | it may have happened; ask again under the same idempotency key to learn |

*Retryable* means that the same request, unchanged and under the same idempotency key, may succeed later or elsewhere.
The wire number is what stands in frames and log lines.
`;

/** The whole text of `docs/reference/errors.md`. */
export function errorReference(): string {
  const rows = Object.entries(errorCodes);
  let text = introduction;
  for (const { title, first, last } of ranges) {
    const inRange = rows.filter(([, row]) => row.wire >= first && row.wire <= last);
    if (inRange.length === 0) continue;
    text += `\n## ${title}\n`;
    for (const [code, row] of inRange.toSorted(([, a], [, b]) => a.wire - b.wire)) {
      const retry = row.retryable ? 'retryable' : 'not retryable';
      text += `\n### \`${code}\`\n\n${row.wire}, ${retry}, outcome \`${row.outcome}\`. ${row.advice}\n`;
    }
  }
  return text;
}

/** The whole text of `docs/adr/README.md`. */
export function decisionIndex(): string {
  const records = readdirSync(join(root, 'docs', 'adr'))
    .filter((name) => /^\d{4}-.*\.md$/.test(name))
    .toSorted();
  const rows = records.map((name) => {
    const text = readFileSync(join(root, 'docs', 'adr', name), 'utf8');
    const title = /^# ADR \d{4}: (.*)$/m.exec(text)?.[1] ?? name;
    const status = /^## Status\s+(\w+)/m.exec(text)?.[1] ?? '?';
    return `| [${name.slice(0, 4)}](${name}) | ${title} | ${status.toLowerCase()} |`;
  });
  return `# Decision records

<!-- Written by \`npm run docs\`; do not edit. -->

One page for each decision that would be hard to undo: status, context, decision, consequences, what was rejected. A record is not rewritten when
it is overturned: a later one says so, and the status of the earlier one names it.

| | decision | status |
| --- | --- | --- |
${rows.join('\n')}
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(join(root, 'docs', 'reference'), { recursive: true });
  writeFileSync(join(root, 'docs', 'reference', 'errors.md'), errorReference());
  writeFileSync(join(root, 'docs', 'adr', 'README.md'), decisionIndex());
}
