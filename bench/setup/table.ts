/** Plain text tables, on standard error so that standard output stays one JSON line for programs. */

/** Prints rows of cells under a heading, the first column left, the others right aligned. */
export function printTable(title: string, rows: readonly (readonly string[])[]): void {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  }
  const lines = rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
  process.stderr.write(`\n${title}\n${lines.map((line) => `  ${line}\n`).join('')}`);
}

/** Microseconds as milliseconds with as many digits as carry meaning. */
export function milliseconds(microseconds: number): string {
  const value = microseconds / 1000;
  return value < 1 ? value.toFixed(3) : value < 10 ? value.toFixed(2) : value.toFixed(1);
}

/** A count per second, rounded, with thousands separated. */
export function perSecond(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
