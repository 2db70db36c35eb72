/** One line for the person at the terminal. */
export function notice(message: string): void {
  process.stderr.write(`prior-art: ${message}\n`);
}
