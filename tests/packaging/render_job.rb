# Renders templates of the BOSH job as the director does, as far as our templates ask for it: declared properties
# only, with their defaults; a property without a value is an error. Prints a JSON object: the text of each by its path.
# Usage: ruby render_job.rb SPEC PROPERTIES_JSON TEMPLATE...

require "erb"
require "json"
require "yaml"

Instance = Struct.new(:id, :name, :deployment, :address, :index)

class Job
  def initialize(declared, properties)
    @declared = declared
    @properties = properties
  end

  def spec = Instance.new("5f2c-instance-guid", "diego-api", "cf", "10.0.16.7", 0)

  def p(name)
    raise "#{name} is not declared" unless @declared.key?(name)
    value = @properties.fetch(name) { (@declared[name] || {})["default"] }
    raise "#{name} has no value" if value.nil?
    value
  end

  def rendered(template) = ERB.new(template, trim_mode: "-").result(binding)
end

declared = YAML.safe_load(File.read(ARGV[0]))["properties"]
job = Job.new(declared, JSON.parse(ARGV[1]))
print JSON.generate(ARGV.drop(2).to_h { |path| [path, job.rendered(File.read(path))] })
