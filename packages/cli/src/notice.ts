let tell = (message: string): void => {
  process.stderr.write(`prior-art: ${message}\n`);
};

/** One line for the person at the terminal. */
export function notice(message: string): void {
  tell(message);
}

/** Notices go there from now on, such as into a log of another format. */
export function noticesTo(receive: (message: string) => void): void {
  tell = receive;
}
