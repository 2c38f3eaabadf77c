-- The two roles of deploy/compose.yaml, made once, with the database: one migrates, the other is the API's.
\set migrator `cat /run/secrets/migrator-password`
\set api `cat /run/secrets/api-password`
CREATE ROLE migrator LOGIN PASSWORD :'migrator';
CREATE ROLE api LOGIN PASSWORD :'api';
GRANT CREATE ON DATABASE :"DBNAME" TO migrator;
GRANT USAGE, CREATE ON SCHEMA public TO migrator;
GRANT USAGE ON SCHEMA public TO api;
ALTER DEFAULT PRIVILEGES FOR ROLE migrator IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO api;
ALTER DEFAULT PRIVILEGES FOR ROLE migrator IN SCHEMA public
    GRANT USAGE, SELECT ON SEQUENCES TO api;
