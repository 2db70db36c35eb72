export { type PostgresServer, postgresPrograms, startPostgres } from "./postgresServer.ts";
export { queueJobs } from "./queueJob.ts";
